"""Rules about the code itself."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from geosim.trainer.working import Working

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "ingest", "search")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(
    ("room", "forbidden"), [("trainer", {"ingest", "search"}), ("ingest", {"search"})]
)
def test_imports_go_one_way(room: str, forbidden: set[str]) -> None:
    for path in (ROOT / room).glob("*.py"):
        roots = {name.partition(".")[0] for name in imported(path)}
        assert not roots & forbidden, path.name


def test_only_the_backends_import_the_engines() -> None:
    homes = {
        "qdrant_edge": {"ingest/store/edge.py"},
        "qdrant_client": {"ingest/store/server.py", "ingest/store/server_requests.py"},
    }
    for engine, allowed in homes.items():
        users = {
            path.relative_to(ROOT).as_posix()
            for path in SOURCES
            if any(name.partition(".")[0] == engine for name in imported(path))
        }
        assert users == allowed


def test_no_assert_outside_tests() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path.name


def test_every_module_says_what_it_owns() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.name


HEAVY = ("tensorflow", "keras", "qdrant_client", "faiss", "matplotlib", "openvino")


def heavy_modules(code: str, *arguments: str) -> set[str]:
    """Run code in a fresh interpreter and return which heavy libraries it imported."""
    report = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stderr.strip().splitlines()[-1])
    return set(found)


@pytest.mark.parametrize("command", ["", "run", "train", "ingest", "search", "export", "demo"])
def test_help_imports_nothing_heavy(command: str) -> None:
    arguments = [*([command] if command else []), "--help"]
    code = (
        f"from geosim.search.cli.main import geosim; geosim({arguments!r}, standalone_mode=False)"
    )
    assert heavy_modules(code) == set()


RUN = (
    "import sys; from geosim.search.cli.main import geosim; "
    "geosim(sys.argv[1:], standalone_mode=False)"
)


def test_a_search_of_an_indexed_image_imports_nothing_heavy(sample: Path, working: Working) -> None:
    data, folder = str(sample), str(working.root)
    assert heavy_modules(RUN, "ingest", data, "--working", folder) == set(), "features are cached"
    image = str(sample / "marble" / "marble-0003.jpg")
    assert heavy_modules(RUN, "search", image, "--working", folder) == set()


def test_a_search_of_a_new_image_starts_neither_tensorflow_nor_qdrant_client(
    lite0_trained: Working, sample: Path, tmp_path: Path
) -> None:
    folder = str(shutil.copytree(lite0_trained.root, tmp_path / "working"))
    rocks = str(lite0_trained.root.parent / "rocks")
    assert heavy_modules(RUN, "ingest", rocks, "--working", folder) == set(), "features are cached"
    image = str(sample / "schist" / "schist-0003.jpg")
    assert heavy_modules(RUN, "search", image, "--working", folder) == {"openvino"}
