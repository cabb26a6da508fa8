"""Commands as processes of their own, with the memory that they take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = "from geosim.search.cli.main import geosim; geosim()"
MEASURED = (
    "import atexit, sys; from tests.processes import peak_mib; "
    f"atexit.register(lambda: print('peak', peak_mib('self'), file=sys.stderr)); {COMMAND}"
)


def peak_mib(process: int | str) -> int:
    """Return the most memory that a process had so far, in MiB (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def run(*arguments: object, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=Path(__file__).parents[1],
        check=False,
    )


@contextmanager
def serving(working: Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``geosim serve`` on a free port; yield its address and the process, and end it.

    It must end without a word on stderr but what it always says.
    """
    command = ("-c", COMMAND, "serve", "--port", "0", "--working", str(working))
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().partition("/ ")[0], process
            assert process.poll() is None
        finally:
            process.terminate()
            _, told = process.communicate(timeout=60)
    assert told.splitlines() == ["loading the model ...", "ended"]
