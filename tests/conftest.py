"""Settings of all tests, and which of them may be skipped."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

os.environ["SCRATCHPIPE_PROGRESS"] = "off"
"""A machine under load may take seconds to import: what a verb says must not depend on it."""

settings.register_profile("project", deadline=None)
"""Kernels compile at their first call: no deadline for one example."""
settings.load_profile("project")

MAY_BE_SKIPPED = (
    "Triton is not installed",  # comes with PyTorch for GPUs alone
    "NO BROWSER",
    "root may write everywhere",
    "needs root to mount a small file system",
    "cannot mount here",
    "needs /dev/full",
    "the sweep was done before the interrupt came",
)
"""Reasons that no package of the extra `test` could take away. Any other skip fails the run: a
suite that is not run must not look like one that passed."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where tests were skipped for a reason that is not on the list."""
    terminal: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(session.config, "workerinput"):
        return
    reasons = [_reason(report) for report in terminal.stats.get("skipped", [])]
    unexpected = sorted({r for r in reasons if not any(known in r for known in MAY_BE_SKIPPED)})
    if unexpected:
        terminal.write_line(
            f"\nskipped for reasons that tests/conftest.py does not list: {unexpected}"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: Any) -> str:
    skipped = report.longrepr
    return str(skipped[-1] if isinstance(skipped, tuple) else skipped)
