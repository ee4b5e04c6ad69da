"""A command line as a user types it, in this process."""

from __future__ import annotations

import pytest

from simulator.cli import main


def ran(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    output = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, output.out, output.err
