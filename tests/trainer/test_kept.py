"""Former models in a folder: kept while they are needed, whatever is killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geosim.trainer.errors import ModelError
from geosim.trainer.heads.head import Head
from geosim.trainer.kept import NEEDED, changing, fingerprints, prune, set_needed
from geosim.trainer.model import fingerprint_of, load_model, save_model
from geosim.trainer.sharing import use
from geosim.trainer.working import Working


def train(folder: Path, factor: float) -> str:
    """Save a model with the same backbone and another head; return its fingerprint."""
    old = load_model(folder)
    head = Head(old.head.kernel * factor, old.head.bias)
    fingerprint = fingerprint_of(old.card["backbone"]["fingerprint"], head)
    save_model(folder, head, None, {**old.card, "fingerprint": fingerprint}, old.card)
    return fingerprint


def heads(folder: Path) -> int:
    return len(list(folder.glob("head-*")))


def test_what_a_collection_needs_is_kept_and_nothing_else(working: Working) -> None:
    folder, first = working.model, load_model(working.model).fingerprint
    set_needed(folder, "geosim in qdrant", [first])
    names = [first, *(train(folder, 2) for _ in range(3))]
    assert fingerprints(folder) == [names[3], first]
    assert heads(folder) == 2
    assert load_model(folder, first).fingerprint == first
    for name in names[1:3]:
        with pytest.raises(ModelError, match=f"there is no model {name}"):
            load_model(folder, name)
    set_needed(folder, "geosim in qdrant", [names[3]])
    with changing(folder):
        prune(folder)
    assert fingerprints(folder) == [names[3]]
    assert heads(folder) == 1


def test_the_model_of_a_folder_of_an_earlier_version_is_kept(working: Working) -> None:
    folder, first = working.model, load_model(working.model).fingerprint
    for content in (None, b"", b"[]", b"{", b'{"a": 3}'):
        if content is None:
            (folder / NEEDED).unlink()
        else:
            (folder / NEEDED).write_bytes(content)
        latest = [train(folder, 2), train(folder, 3)][-1]
        assert fingerprints(folder)[0] == latest
        assert load_model(folder, first).fingerprint == first
        use(folder, first[:6])
    assert len(fingerprints(folder)) <= 3


def test_another_one_is_used_and_the_former_stays(working: Working) -> None:
    folder, first = working.model, load_model(working.model).fingerprint
    set_needed(folder, "geosim in qdrant", [first])
    second = train(folder, 2)
    for name, other in ((first, second), (second, first), (second, first)):
        assert use(folder, name[:8]).fingerprint == name
        assert fingerprints(folder) == [name, other]
        load_model(folder, other).check()
    with pytest.raises(ModelError, match=f"0 models that begin with 'xyz'.*{first[:12]}"):
        use(folder, "xyz")
    with pytest.raises(ModelError, match=r"2 models that begin with ''"):
        use(folder, "")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.kills import die_at
from tests.trainer.test_kept import train

die_at(int(sys.argv[3]), (Path, "replace"), (Path, "unlink"))
train(Path(sys.argv[2]), 2)
"""


def test_a_kill_loses_no_model_that_is_needed(working: Working) -> None:
    folder, first = working.model, load_model(working.model).fingerprint
    set_needed(folder, "geosim in qdrant", [first])
    root, ended, at = Path(__file__).parents[2], False, 0
    seen: set[bool] = set()
    while not ended:
        at += 3
        command = [sys.executable, "-c", KILLED, str(root), str(folder), str(at)]
        done = subprocess.run(command, check=False, timeout=120)
        ended = done.returncode == 0
        assert ended or done.returncode == -signal.SIGKILL
        load_model(folder, first).check()
        seen.add(load_model(folder).fingerprint == first)
        load_model(folder).check()
        if not ended:
            use(folder, first)
    assert seen == {True, False}
    train(folder, 3)
    assert heads(folder) == 2
    assert not list(folder.glob(".geosim-*"))


def test_models_share_a_backbone(lite0_trained: Working, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lite0_trained.model, tmp_path / "model"))
    first = load_model(folder)
    set_needed(folder, "geosim in qdrant", [first.fingerprint])
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("backbone-*")}
    old: dict[str, Any] = dict(first.card)
    head = Head(first.head.kernel * 2, first.head.bias)
    old["fingerprint"] = fingerprint_of(old["backbone"]["fingerprint"], head)
    backbone = first.extractor(tmp_path / "features").backbone
    save_model(folder, head, backbone, old, None)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("backbone-*")} == before
    load_model(folder).check()
    load_model(folder, first.fingerprint).check()
    assert json.loads((folder / NEEDED).read_text()) == {"geosim in qdrant": [first.fingerprint]}
