"""`scratchpipe calibrate --update`: fitted numbers go into part files, and nothing else moves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from simulator.calibration.update import catalogue_texts
from simulator.cli.app import main
from simulator.config import catalogue, reader
from simulator.errors import UsageError

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "experiments" / "validation" / "microbenchmarks"
GPU = "platform.host.gpu"
VALUES = {f"{GPU}.sort_rate": 123.4e9, f"{GPU}.products.fp32.kernel_latency": 6.5e6}
SOURCES = {path: f"fitted: {path}" for path in VALUES}


def run(*arguments: str) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of its own."""
    copy = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", copy)
    monkeypatch.setattr(catalogue, "data_path", lambda kind: tmp_path / kind)
    return copy


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*.yaml"))}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_writing_the_same_measurements_again_changes_nothing(configs: Path, tmp_path: Path) -> None:
    """Sorts, Plans, MLPs and copies, in seconds; the whole folder takes half a minute:
    `scratchpipe calibrate --from experiments/validation/microbenchmarks --update h200`."""
    small = tmp_path / "measured"
    small.mkdir()
    for name in ("machine.json", "micro_sort.csv", "micro_plan.csv", "micro_pcie.csv"):
        shutil.copy(MEASURED / name, small)
    original = files(configs)
    assert run("calibrate", "--from", str(small), "--update", "h200", "--json") == 0
    once = files(configs)
    assert changed(original, once) == {
        "parts/gpus/h200_sxm5_141gb.yaml",
        "parts/links/h200_vm_pcie5_x16.yaml",
    }
    reader.read_text.cache_clear()
    assert run("calibrate", "--from", str(small), "--update", "h200", "--json") == 0
    assert changed(once, files(configs)) == set()


@pytest.mark.parametrize(
    ("note", "profile"), [("compiled with numba", "observed"), ("C++", "tuned")]
)
def test_numbers_of_this_programs_kernels_do_not_go_into_the_profile_of_others(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], note: str, profile: str
) -> None:
    small = tmp_path / "measured"
    small.mkdir()
    shutil.copy(MEASURED / "machine.json", small)
    lines = [
        f"coalesce_update,own (partition+radix sort+segment sum+sgd),128,16,{n},uniform,1,"
        f"{note}; partition {n * 1e-6:.4f} ms"
        for n in (100_000, 200_000, 400_000)
    ]
    text = "\n".join(["op,impl,dim,threads,n_rows,dist,ms,note", *lines])
    (small / "micro_cpu.csv").write_text(f"{text}\n")
    before = files(configs)
    start = ("calibrate", "--from", str(small), "--update", "h200", "--keep-undecided")
    assert run(*start) == 0
    assert f"profile: {profile}" in capsys.readouterr().err
    assert changed(before, files(configs)) == {f"operators/{profile}.yaml"}


@pytest.mark.parametrize("said", ['{"gpu": "NVIDIA B200", "cores": 16}', '{"cores": 16}', ""])
def test_parts_are_not_rewritten_by_what_another_gpu_measured(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    small = tmp_path / "measured"
    shutil.copytree(MEASURED, small)
    (small / "machine.json").unlink()
    if said:
        (small / "machine.json").write_text(said)
    before = files(configs)
    assert run("calibrate", "--from", str(small), "--update", "h200") == 2
    assert "writes the parts of that machine anew" in capsys.readouterr().err
    assert changed(before, files(configs)) == set()


def test_numbers_and_sources_change_and_no_other_line() -> None:
    ((file, text),) = catalogue_texts("h200", "tuned", VALUES, SOURCES).items()
    before = file.read_text(encoding="utf-8").splitlines()
    after = text.splitlines()
    assert len(after) == len(before)
    new = {b for a, b in zip(before, after, strict=True) if a != b}
    assert new == {
        "sort_rate: 123.4e9",
        "    kernel_latency: 6.5 us",
        f'  sort_rate: "fitted: {GPU}.sort_rate"',
        f'  products.fp32.kernel_latency: "fitted: {GPU}.products.fp32.kernel_latency"',
    }


def test_a_number_that_the_part_lacks_stands_before_its_sources(configs: Path) -> None:
    values = {"platform.host.pcie.acknowledgements": 0.0625}
    ((file, text),) = catalogue_texts("a100", "tuned", values, dict.fromkeys(values, "x")).items()
    lines = text.splitlines()
    assert lines.index("acknowledgements: 0.0625") == lines.index("sources:") - 1
    assert file.is_relative_to(configs)


def test_software_goes_into_the_profile() -> None:
    values = {"operators.gather.row_time": 9e3, "operators.gather.overlap": 0.5}
    sources = {
        "operators.gather.row_time": "fitted (x): y; residual z; +-1%",
        "operators.gather.overlap": "fitted (x): y; residual z; +-2%",
    }
    ((file, text),) = catalogue_texts("h200", "tuned", values, sources).items()
    assert file.name == "tuned.yaml"
    assert 'source: "fitted (x): y; residual z; row_time +-1%; overlap +-2%"' in text


def test_a_machine_made_of_another_is_not_written_into(configs: Path) -> None:
    (configs / "platforms" / "mine.yaml").write_text("base: h200\nname: mine\n")
    with pytest.raises(UsageError, match="takes its parts from another machine"):
        catalogue_texts("mine", "tuned", VALUES, SOURCES)


def test_a_number_that_the_machine_sets_beside_its_part_is_refused(configs: Path) -> None:
    file = configs / "platforms" / "h200.yaml"
    text = file.read_text().replace(
        "gpu: h200_sxm5_141gb", "gpu: {part: h200_sxm5_141gb, sort_rate: 1.0e+9}"
    )
    file.write_text(text)
    with pytest.raises(UsageError, match=r"host\.gpu sets sort_rate itself"):
        catalogue_texts("h200", "tuned", VALUES, SOURCES)


def test_options_that_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    start = ("calibrate", "--from", str(MEASURED))
    assert run(*start) == 2
    assert "one of --out FILE" in capsys.readouterr().err
    assert run(*start, "--update", "h200", "--base", "h200") == 2
    assert "leave --base, --operators out" in capsys.readouterr().err
    assert run(*start, "--update", "nosuch") == 2
    assert "nosuch" in capsys.readouterr().err
