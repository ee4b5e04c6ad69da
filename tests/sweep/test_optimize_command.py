"""`scratchpipe optimize` as it is typed: options, run directory, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from quick_training import QUICK

from simulator.cli import main

SPACE = {**QUICK, "platform": "p3_2xlarge"}


class Command:
    """The command on the space of this page, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.out, self._capsys = folder / "space.yaml", folder / "found", capsys
        self.file.write_text(yaml.safe_dump(SPACE))

    def __call__(self, *words: str, throughput: float | None = 1.0) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        asked = ["--out", str(self.out)]
        if throughput is not None:
            asked += ["--throughput", str(throughput)]
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["optimize", str(self.file), *asked, *words])
        told = self._capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def test_what_over_lists_is_swept_and_a_value_counts_once(command: Command) -> None:
    code, out, _ = command("--over", "cache.fraction=0.2,0.4,0.2", "--json")
    told = json.loads(out)
    assert code == 0
    assert {each["sweep"] for each in told["candidates"]} == {
        "cache.fraction=0.2",
        "cache.fraction=0.4",
    }
    assert told["best"]["meets"] is True
    assert told["points_looked_at"] == told["combinations_of_the_space"] == 4
    for suffix in ("csv", "svg", "pdf", "png"):
        assert (command.out / f"front.{suffix}").stat().st_size > 0


@pytest.mark.parametrize("share", ["5%", "0.05", "5 %"])
def test_the_smallest_that_is_almost_the_fastest(command: Command, share: str) -> None:
    words = ["--over", "cache.fraction=0.2,0.4", "--over", "systems=scratchpipe"]
    code, out, _ = command(*words, "--within", share, throughput=None)
    assert code == 0
    assert out.startswith("within 5 % of the fastest: scratchpipe, ")
    assert "speed, energy and size at once" in out
    code, out, _ = command(*words, "--within", share, "--json", throughput=None)
    told = json.loads(out)
    fastest = max(each["throughput_samples_per_s"] for each in told["candidates"])
    meeting = [each for each in told["candidates"] if each["meets"]]
    assert told["within"] == 0.05
    assert told["throughput"] == pytest.approx(fastest / 1.05)
    assert told["best"]["cache_gib"] == min(each["cache_gib"] for each in meeting)


@pytest.mark.parametrize("share", ["5 percent", "-1%", "1.2", "nan", ""])
def test_what_is_no_share_is_refused(command: Command, share: str) -> None:
    code, out, err = command("--within", share, throughput=None)
    assert (code, out) == (2, "")
    assert "error: --within: " in err


def test_systems_can_be_listed_too(command: Command) -> None:
    code, out, _ = command("--over", "systems=straw_man,hybrid", "--json")
    assert code == 0
    assert {each["system"] for each in json.loads(out)["candidates"]} == {"straw_man", "hybrid"}


def test_words_of_over_stand_for_keys(command: Command) -> None:
    """`machine`, `policy` and `system`: no keys of an experiment, and what people type."""
    words = ["--over", "machine=p3_2xlarge,p3_16xlarge", "--over", "policy=lru,lfu"]
    code, out, _ = command(*words, "--over", "system=scratchpipe", "--json")
    assert code == 0
    candidates = json.loads(out)["candidates"]
    assert {each["platform"] for each in candidates} == {"p3_2xlarge", "p3_16xlarge"}
    assert len({each["sweep"] for each in candidates}) == 4
    code, _, err = command("--over", "gpus=1,2")
    assert code == 2
    assert "platform.host.gpu.count" in err


def test_where_nothing_holds_it_the_nearest_is_told_and_the_code_is_3(command: Command) -> None:
    code, out, err = command(throughput=1e15)
    assert code == 3
    assert "none of 2 points; nearest: " in out
    assert err.splitlines()[-1] == "error: 1,000,000,000,000,000 samples/s: none of 2 points"
    code, out, _ = command("--json", throughput=1e15)
    assert code == 3
    told = json.loads(out)
    assert told["best"] is None
    fastest = max(told["candidates"], key=lambda each: each["throughput_samples_per_s"])
    assert told["nearest"] == fastest


def test_where_nothing_fits_the_code_is_3_and_no_folder_is_left(command: Command) -> None:
    code, out, err = command("--set", "model.rows_per_table=1e9", "--json")
    assert code == 3
    assert len(json.loads(out)["refused"]) == 2
    assert err.endswith("error: 1 samples/s: nothing fits its machine\n")
    assert not command.out.exists()


def test_it_is_told_how_much_of_a_large_space_was_looked_at(command: Command) -> None:
    words = ["--over", "cache.fraction=0.1,0.2,0.4", "--over", "model.batch_size=32,64,128"]
    code, out, _ = command(*words, "--trials", "6", "--seed", "3", throughput=1e15)
    assert code == 3
    assert "6 points of 18 combinations were looked at" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cache.fraction"], "--over cache.fraction: is not PATH=A,B, such as"),
        (["cache.fraction="], "--over cache.fraction=: is not PATH=A,B, such as"),
        (["=0.2"], "--over =0.2: is not PATH=A,B, such as"),
        (
            ["cache.fraction=0.2", "cache.fraction=0.5"],
            "--over cache.fraction: is given twice: list all of its values once",
        ),
        (["systems=hybrid", "systems=hybrid"], "--over systems: is given twice"),
        (["cache.fracton=0.2"], "--over cache.fracton: cache.fracton: unknown key"),
        (["cache.fraction=2,3"], "--over cache.fraction: cache.fraction: is 2: must be at most 1"),
        (["cache.fraction=[0.2,"], "--over cache.fraction: is not valid YAML"),
        (["gpus=1,2"], "--over gpus: sweep.gpus: cannot be swept"),
        (["systems=hybrid,none"], '--over systems: systems: is "none": there is no such system'),
    ],
)  # fmt: skip
def test_faults_of_over_name_it(command: Command, words: list[str], message: str) -> None:
    code, out, err = command(*(option for word in words for option in ("--over", word)))
    assert (code, out) == (2, "")
    assert f"error: {message}" in err
    assert "--set" not in err


def test_a_folder_of_another_space_is_refused_until_it_may_be_replaced(command: Command) -> None:
    fractions = ["--over", "cache.fraction=0.2,0.4"]
    assert command(*fractions)[0] == 0
    before = (command.out / "metrics.csv").read_bytes()
    code, _, err = command("--over", "cache.fraction=0.2,0.3", "--over", "systems=hybrid")
    assert code == 2
    assert (
        "(sweep.cache.fraction is [0.2,0.4] there, [0.2,0.3] here; systems is "
        '["hybrid","scratchpipe"] there, ["hybrid"] here): choose another --out, or --replace'
    ) in err
    assert (command.out / "metrics.csv").read_bytes() == before
    assert command(*fractions, throughput=1e3)[0] == 0, "another question about the same space"
    assert command("--over", "systems=hybrid", "--replace")[0] == 0
    assert len(list((command.out / "points").glob("*.json"))) == 1
