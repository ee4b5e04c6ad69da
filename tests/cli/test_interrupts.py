"""Interrupts that come while compiled code calls Python back, where nobody can catch them."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import ctypes, os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests may ignore it
from simulator.cli.interrupts import ending_in_order, word_and_code

@ctypes.CFUNCTYPE(None)
def told():
    os.kill(os.getpid(), signal.{sent})
    time.sleep(0.01)

with ending_in_order():
    try:
        told()
        time.sleep(20)
    except KeyboardInterrupt as interrupt:
        print(word_and_code(interrupt))
"""


@pytest.mark.parametrize(("sent", "heard"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated")])
def test_what_is_lost_in_a_callback_comes_again(sent: str, heard: str) -> None:
    command = [sys.executable, "-c", CODE.format(sent=sent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    assert heard in done.stdout
    assert done.stderr == ""


def test_other_errors_in_a_callback_are_told_as_ever() -> None:
    code = CODE.replace("os.kill(os.getpid(), signal.{sent})", "1 / 0").replace(
        "sleep(20)", "sleep(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15)
    assert "ZeroDivisionError" in done.stderr
    assert done.stdout == ""
