"""`scratchpipe memory measure --near-memory`: nodes of a pool, by row bytes."""

from __future__ import annotations

import json

import pytest
from typed import ran

WORDS = ("measure", "--pattern", "gather", "--requests", "2000")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_every_size_of_a_row_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*WORDS, "--near-memory", "recnmp_ddr4")
    code, text, _ = ran(capsys, "memory", *words, "--json")
    rows = json.loads(text)
    assert code == 0
    assert [row["row_bytes"] for row in rows] == [64, 128, 256, 512]
    assert all(0.5 < row["efficiency"] < 1 for row in rows)
    _, shown, _ = ran(capsys, "memory", *words)
    assert all(text in shown for text in ("512", "limited by", "sums", "instructions"))
    _, one, _ = ran(capsys, "memory", *words, "--row-bytes", "96", "--lookups", "80", "--json")
    (row,) = json.loads(one)
    assert row["row_bytes"] == 96
    assert row["limits"]["sums"] > rows[0]["limits"]["sums"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name one: --memory"),
        (("--memory", "ddr4_2400", "--near-memory", "recnmp_ddr4"), "name one: --memory"),
        (("--near-memory", "ddr4_2400"), "kind: is dram"),
        (("--near-memory", "recnmp_ddr4", "--channels", "2"), "--channels and --load"),
        (("--near-memory", "recnmp_ddr4", "--load", "0.5"), "--channels and --load"),
        (("--memory", "ddr4_2400", "--lookups", "5"), "--lookups goes with --near-memory"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = ran(capsys, "memory", *WORDS, *words)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        (("--near-memory", "nope"), ("--near-memory nope", "recnmp_ddr4", "trim_ddr5")),
        (("--near-memory", "recnmp_ddr"), ("did you mean", "recnmp_ddr4")),
        (("--memory", "nope"), ("--memory nope", "ddr4_2400", "hbm2_v100")),
        (("--memory", "ddr4_2400"), ("--pattern", "gather, scatter")),
        (("--near-memory", "recnmp_ddr4"), ("--pattern", "gather, scatter")),
    ],
)
def test_an_unknown_part_is_named_before_a_missing_pattern(
    words: tuple[str, ...], listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = ran(capsys, "memory", "measure", *words)
    assert code == 2
    assert all(text in error for text in listed)
