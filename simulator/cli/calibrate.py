"""`scratchpipe calibrate`: fit a platform to micro-benchmarks of a machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from simulator.files import write_file

if TYPE_CHECKING:
    from simulator.calibration.base import Base
    from simulator.calibration.calibrate import Calibration, Entries

__all__ = ["calibrate"]

Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Platform file to write (.yaml).", show_default=False),
]
Update = Annotated[
    str | None,
    typer.Option(
        metavar="PLATFORM",
        help="In place of --out: write the numbers into the parts of this platform of the "
        "catalogue, and into its operator profile.",
        show_default=False,
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="Folder of micro-benchmark CSVs; by default this machine is measured.",
        show_default=False,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Measure fewer sizes, in about 2.5 minutes.")]
Measurements = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the CSVs of this machine go; by default beside --out.",
        show_default=False,
    ),
]
BasePlatform = Annotated[
    str,
    typer.Option(
        metavar="PLATFORM",
        help="Platform that gives what is not measured; auto: the one of the catalogue with the "
        "GPU that machine.json names.",
    ),
]
Operators = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the fitted operator profile here too."),
]
Profile = Annotated[
    str,
    typer.Option(
        metavar="PROFILE",
        help="Operator profile of the software that was measured; auto: observed for what this "
        "program measures, else tuned, with --update the platform's own.",
    ),
]
KeepProfile = Annotated[
    bool,
    typer.Option(
        "--keep-profile",
        help="The software is that of --profile: hold its numbers, fit the machine's alone.",
    ),
]
KeepUndecided = Annotated[
    bool,
    typer.Option(
        "--keep-undecided",
        help="Numbers that the measurements do not decide keep the base's value (else: an error).",
    ),
]
Residuals = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Residuals of every point; by default beside --out, with --update nowhere.",
    ),
]
HoldOut = Annotated[
    bool,
    typer.Option(
        "--hold-out",
        help="Also fit twice without every other point, and show how well those are predicted.",
    ),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace measurements of this machine that are there.")
]
Json = Annotated[bool, typer.Option("--json", help="Print numbers and residuals as JSON.")]

_OWN, _OTHER = "observed", "tuned"
"""The profiles of the kernels that this program's own micro-benchmarks run, and of others."""


def calibrate(
    out: Out = None,
    update: Update = None,
    source: From = None,
    quick: Quick = False,
    measurements: Measurements = None,
    base: BasePlatform = "auto",
    operators: Operators = None,
    profile: Profile = "auto",
    keep_profile: KeepProfile = False,
    keep_undecided: KeepUndecided = False,
    residuals: Residuals = None,
    hold_out: HoldOut = False,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """Fit the mechanisms of a platform to micro-benchmarks, and say how well they fit.

    Without --from it measures the machine that it runs on first: the CPU always, the GPU and the
    link where there is one and PyTorch is installed (the extra `lab`).
    A number that the measurements do not decide is an error.
    """
    from simulator.calibration.calibrate import Options, held_out
    from simulator.calibration.calibrate import calibrate as fit
    from simulator.calibration.provenance import with_calibrated
    from simulator.calibration.write import residuals_csv
    from simulator.cli import calibration_tables as tables
    from simulator.errors import UndecidedError

    _refuse(out, update, operators, base)
    if source is not None and (quick or measurements or replace):
        _usage("--quick, --measurements and --replace measure this machine: leave --from out")
    chosen = _base(source, base if update is None else update, anew=update is not None)
    folder = source or _measured(_beside(out, measurements), quick, replace)
    software = _software(folder, chosen, update) if profile == "auto" else profile
    entries = _entries(chosen, software)
    options = Options(keep_undecided, keep_profile, own_facts=update is None)
    try:
        fitted = fit(folder, entries, options)
    except UndecidedError as error:
        if source is None:
            raise UndecidedError(
                f"{error}\nWhat was measured is kept: --from {shlex.quote(str(folder))}"
            ) from None
        raise
    texts = _targets(chosen, software, fitted, out, operators)
    targets = with_calibrated(texts, fitted.values, folder)
    table = residuals or (out.with_suffix(".residuals.csv") if out else None)
    if table is not None:
        targets[table] = residuals_csv(fitted.residuals)
    for target, text in targets.items():
        write_file(target, text)
    unseen = held_out(folder, entries, options) if hold_out else []
    if as_json:
        typer.echo(tables.as_json(fitted, unseen))
        return
    tables.show(fitted, unseen)
    typer.echo("Files written:")
    for target in targets:
        typer.echo(f"  {target}")
    software_fitted = any(path.startswith("operators.") for path in fitted.values)
    if operators is None and out is not None and software_fitted:
        typer.echo("The operator profile was fitted too; --operators FILE writes it.", err=True)


def _usage(message: str) -> NoReturn:
    from simulator.errors import UsageError

    raise UsageError(message)


def _refuse(out: Path | None, update: str | None, operators: Path | None, base: str) -> None:
    """Options that do not go together."""
    if (out is None) == (update is None):
        _usage("give one of --out FILE (a platform file) and --update PLATFORM (the catalogue's)")
    if out is not None and out.suffix not in (".yaml", ".yml"):
        _usage(f"--out {out}: a platform file ends in .yaml")
    if update is not None and (operators is not None or base != "auto"):
        _usage("--update writes parts and profile of that platform: leave --base, --operators out")


def _beside(out: Path | None, measurements: Path | None) -> Path:
    """Where measurements of this machine go."""
    if measurements is not None:
        return measurements
    if out is None:
        _usage("--update takes measurements: give --from DIR, or --measurements DIR to measure")
    return out.with_suffix("").with_name(f"{out.stem}_microbenchmarks")


def _base(source: Path | None, given: str, *, anew: bool) -> Base:
    """The base, chosen before anything is measured; says what was chosen on standard error.
    `anew`: its own parts are to be written."""
    from simulator.calibration.base import AUTO, base_for, require_same
    from simulator.calibration.facts import described, described_by

    if source is not None:
        measured = described_by(source)
    else:
        from simulator.observe.microbench import this_machine

        measured = described(this_machine(), "this machine")
    found = base_for(measured, given)
    if anew:
        require_same(found, measured)
    if given == AUTO or found.remark:
        remark = f" ({found.remark})" if found.remark else ""
        typer.echo(f"base: {found.reference}{remark}", err=True)
    return found


def _software(folder: Path, base: Base, update: str | None) -> str:
    """The profile of the software that was measured; says what was chosen on standard error."""
    from simulator.calibration.cpu_points import own_software

    other = _OTHER if update is None else base.machine.operators
    found = _OWN if own_software(folder) else other
    typer.echo(f"profile: {found}", err=True)
    return found


def _entries(base: Base, profile: str) -> Entries:
    from simulator.calibration.calibrate import Entries
    from simulator.config.catalogue import load_named

    software, model = load_named("operators", profile), load_named("models", "default")
    return Entries(base.machine, software, model)


def _targets(
    base: Base, software: str, fitted: Calibration, out: Path | None, operators: Path | None
) -> dict[Path, str]:
    """The text of each file to write."""
    from simulator.calibration.update import catalogue_texts
    from simulator.calibration.write import entry_file, machine_text, profile_text

    values, sources = fitted.values, fitted.sources
    if out is None:
        return catalogue_texts(base.reference, software, values, sources)
    reference = _from(out, base.reference)
    texts = {out: machine_text(base.machine, reference, values, sources, out.stem, fitted.facts)}
    if operators is not None:
        shipped = entry_file("operators", software)
        texts[operators] = profile_text(shipped, values, sources, operators.stem)
    return texts


def _from(out: Path, base: str) -> str:
    """How the file `out` names its base: a path is relative to the file that says it."""
    if base.endswith((".yaml", ".yml")):
        return Path(os.path.relpath(base, out.parent)).as_posix()
    return base


def _measured(folder: Path, quick: bool, replace: bool) -> Path:
    """Measure this machine into `folder`; says what is under way on standard error."""
    from simulator.observe.microbench import measure_machine

    minutes = "2.5 minutes at most" if quick else "about six minutes with a GPU, two without"
    typer.echo(f"measuring this machine into {folder}: {minutes}; keep it idle", err=True)
    measure_machine(folder, quick, lambda name: typer.echo(f"  {name}", err=True), replace=replace)
    return folder
