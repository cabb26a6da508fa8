"""What the README promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from geosim.search.cli.main import geosim
from geosim.trainer.working import Working

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str, language: str) -> str:
    """Return the first code block of a language under a heading."""
    section = README.split(f"{heading}\n", 1)[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_every_command_is_named() -> None:
    for name in geosim.commands:
        assert f"`geosim {name}" in README, name


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_it_opens_with_two_commands_for_a_fresh_machine() -> None:
    start = README.split("## Start\n", 1)[1].split("\n## ", 1)[0]
    commands = re.findall(r"```console\n(.*?)```", start, re.DOTALL)
    assert len(commands) == 2
    assert all(len(command.splitlines()) == 1 for command in commands)
    assert all(command.startswith("python3 -m venv") for command in commands)
    assert commands[0].rstrip().endswith("geosim demo")
    assert ".venv/bin/pytest" in commands[1]


def test_the_library_example_runs(sample: Path, working: Working, tmp_path: Path) -> None:
    from geosim.search.cli.main import geosim as group

    arguments = ["ingest", str(sample), "--working", str(working.root)]
    group(arguments, standalone_mode=False)
    shutil.copy(sample / "marble" / "marble-0001.jpg", tmp_path / "new.jpg")
    done = subprocess.run(
        [sys.executable, "-c", block("### As a library", "python")],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert "rocks/marble/marble-0001.jpg" in done.stdout.splitlines()[0]
