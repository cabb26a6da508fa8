"""Rules about the code itself."""

from __future__ import annotations

import ast
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from geosim.trainer.working import Working

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "ingest", "search")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_every_sub_package_is_installed() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in SOURCES if path.name == "__init__.py"}
    assert set(settings["packages"]) == {f"geosim.{'.'.join(path.parts)}" for path in folders}


def test_no_module_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert max(lengths.values()) <= 300, max(lengths, key=lengths.__getitem__)
    assert statistics.median(lengths.values()) < 150


def test_nothing_of_a_user_s_hides_the_packages(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user')\n")
    code = "from geosim.search import open_index; print(open_index.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
    )
    assert done.stdout == "open_index\n"


def test_no_assert_outside_tests() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path.name


def test_every_module_says_what_it_owns() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.name


HEAVY = (
    *("tensorflow", "keras", "qdrant_client", "faiss", "matplotlib", "openvino"),
    *("tifffile", "imagecodecs"),
)


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


def test_an_import_changes_nothing_of_its_caller_s() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES]
    code = f"""
import importlib, mimetypes, os, sys, warnings
from PIL import Image
def settings():
    return (list(warnings.filters), dict(os.environ), Image.MAX_IMAGE_PIXELS,
            mimetypes.types_map.copy(), [name for name in sys.modules if not sys.modules[name]])
import uvicorn, fastapi, matplotlib, qdrant_client, qdrant_edge, openvino
before = settings()
for name in {modules!r}:
    importlib.import_module("geosim." + name)
assert settings() == before, (before, settings())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
