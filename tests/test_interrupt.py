"""Ctrl-C outside of a command's work: while its modules are imported, or its arguments read."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import os, signal, sys
def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    print("went on")
from geosim.search.cli import scripts
"""
IMPORTING = "scripts.import_module = interrupt\nscripts.geosim()"
PARSING = "import click\nclick.Group.parse_args = interrupt\nscripts.geosim()"
EXITING = (
    "import atexit\natexit.register(interrupt)\nsys.argv[1:] = ['--version']\nscripts.geosim()"
)


def run(code: str, handler: str) -> subprocess.CompletedProcess[str]:
    heeding = f"import signal; signal.signal(signal.SIGINT, signal.{handler})"
    return subprocess.run(
        [sys.executable, "-c", heeding + START + code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize("code", [IMPORTING, PARSING, EXITING])
def test_it_is_one_line_and_its_status(code: str) -> None:
    done = run(code, "default_int_handler")
    assert done.returncode == 130, done.stderr
    assert (
        done.stderr.strip() == "interrupted; run the same command again, what was finished is kept"
    )
    assert "went on" not in done.stdout


def test_a_process_that_ignores_it_goes_on() -> None:
    done = run(EXITING, "SIG_IGN")
    assert (done.returncode, done.stderr) == (0, "")
    assert "went on" in done.stdout
