"""Models in a place that colleagues share."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from geosim.trainer.errors import ModelError
from geosim.trainer.kept import fingerprints
from geosim.trainer.model import CARD, load_model
from geosim.trainer.sharing import pull, push
from geosim.trainer.targets import open_target
from geosim.trainer.working import Working
from tests.trainer.test_kept import train

Run = Callable[..., Result]


@pytest.fixture(params=["folder", "file", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        pytest.importorskip("fsspec")
        return f"memory://{tmp_path.name}/models"
    return f"{'file://' if request.param == 'file' else ''}{tmp_path / 'shared' / 'models'}"


def test_a_model_is_brought_to_another_folder(
    target: str, lite0_trained: Working, working: Working, tmp_path: Path
) -> None:
    place, lite, grid = open_target(target), load_model(lite0_trained.model), working.model
    with pytest.raises(ModelError, match="has no model; push one"):
        pull(place, None, tmp_path / "new")
    assert push(lite, place)
    assert not push(lite, place), "it is there"
    found = pull(place, None, tmp_path / "new")
    assert found.card == lite.card
    found.check()
    assert fingerprints(tmp_path / "new") == [lite.fingerprint], "the current one"

    current = load_model(grid)
    assert push(current, place)
    with pytest.raises(ModelError, match=f"has 2 models, expected one.*{lite.fingerprint[:12]}"):
        pull(place, None, grid)
    for _ in range(2):
        pull(place, lite.fingerprint[:7], grid).check()
        assert fingerprints(grid) == [current.fingerprint, lite.fingerprint], "never replaced"
    assert train(grid, 2) == fingerprints(grid)[0]
    load_model(grid, lite.fingerprint).check()


def test_a_backbone_that_is_there_is_not_copied(lite0_trained: Working, tmp_path: Path) -> None:
    own, shared = tmp_path / "model", tmp_path / "shared"
    shutil.copytree(lite0_trained.model, own)
    first = load_model(own)
    push(first, open_target(str(shared)))
    train(own, 2)
    assert first.fingerprint not in fingerprints(own)
    for path in shared.glob("*/backbone-*"):
        path.unlink()
    pull(open_target(str(shared)), None, own).check()
    with pytest.raises(ModelError, match=r"not whole.*backbone-.* is missing.*push anew"):
        pull(open_target(str(shared)), None, tmp_path / "other")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_or_foreign_is_refused(working: Working, tmp_path: Path) -> None:
    sound, shared, own = tmp_path / "sound", tmp_path / "shared", tmp_path / "own"
    model = load_model(working.model)
    push(model, open_target(str(sound)))
    card: dict[str, Any] = json.loads((sound / model.fingerprint / CARD).read_bytes())
    head = card["files"]["head"]["file"]

    def refused(change: Callable[[Path], object]) -> None:
        shutil.rmtree(shared, ignore_errors=True)
        shutil.copytree(sound, shared)
        change(shared / model.fingerprint)
        with pytest.raises(ModelError, match=r"(not whole|has no model).*push") as caught:
            pull(open_target(str(shared)), None, own)
        assert "\n" not in str(caught.value)
        assert fingerprints(own) == []
        assert not list(own.glob("head-*"))

    def named(name: str) -> Callable[[Path], object]:
        def change(folder: Path) -> None:
            (folder / head).rename(folder / Path(name).name)
            files = {"head": {**card["files"]["head"], "file": name}}
            (folder / CARD).write_text(json.dumps({**card, "files": files}))

        return change

    def pickled(folder: Path) -> None:
        import hashlib

        with (folder / head).open("wb") as file:
            np.savez(file, kernel=np.array([{}], dtype=object), bias=np.zeros(32, np.float32))
        digest = hashlib.sha256((folder / head).read_bytes()).hexdigest()
        files = {"head": {"file": head, "sha256": digest}}
        (folder / CARD).write_text(json.dumps({**card, "files": files}))

    refused(lambda folder: damage(folder / head))
    refused(lambda folder: (folder / head).unlink())
    refused(lambda folder: (folder / CARD).unlink())
    refused(lambda folder: (folder / CARD).write_text("{"))
    refused(lambda folder: (folder / CARD).write_text(json.dumps({**card, "files": [3]})))
    refused(
        lambda folder: (folder / CARD).write_text(json.dumps({**card, "fingerprint": "0" * 64}))
    )
    refused(lambda folder: folder.rename(folder.with_name("f" * 64)))
    refused(lambda folder: folder.rename(folder.with_name("notes")))
    refused(named("../../../head-000000000000.npz"))
    refused(named(CARD))
    refused(pickled)


def test_a_push_that_was_killed_is_done_again(working: Working, tmp_path: Path) -> None:
    model, place = load_model(working.model), open_target(str(tmp_path))
    push(model, place)
    (tmp_path / model.fingerprint / CARD).write_bytes(b'{"finger')
    next((tmp_path / model.fingerprint).glob("head-*")).write_bytes(b"half")
    assert push(model, place)
    pull(place, None, tmp_path / "new").check()


def test_a_damaged_model_is_brought_anew(working: Working, tmp_path: Path) -> None:
    push(load_model(working.model), open_target(str(tmp_path)))
    damage(next(working.model.glob("head-*")))
    with pytest.raises(ModelError, match="is damaged"):
        load_model(working.model)
    pull(open_target(str(tmp_path)), None, working.model).check()
    load_model(working.model).check()


def test_a_url_without_fsspec_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "fsspec":
            raise ImportError(name)
        return imported(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModelError, match=r"s3://bucket/m .*pip install 'geosim\[fsspec\]'"):
        open_target("s3://me:secret@bucket/m")


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path, working: Working) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "models"):
        with pytest.raises(ModelError, match=r"cannot use .*file"):
            push(load_model(working.model), open_target(str(target)))
    pytest.importorskip("fsspec")
    for url in ("nonsense://x/y", "ftp://127.0.0.1:9/models"):
        with pytest.raises(ModelError, match=f"cannot use {url}"):
            pull(open_target(url), None, working.model)


def test_the_commands(geosim: Run, working: Working, sample: Path, tmp_path: Path) -> None:
    def run(*arguments: object, folder: Path, fails: bool = False) -> Result:
        done = geosim(*arguments, "--working", folder)
        assert done.exit_code == fails, done.stderr
        return done

    mine, yours, shared = working.root, tmp_path / "yours", tmp_path / "shared"
    store = ("--qdrant", tmp_path / "qdrant")
    name = load_model(working.model).fingerprint
    run("ingest", sample, *store, folder=mine)
    assert run("model", "push", shared, folder=mine).stdout == f"{name}\n"
    again = run("model", "push", shared, folder=mine)
    assert (again.stdout, "has this model already" in again.stderr) == (f"{name}\n", True)

    new = tmp_path / "new.png"
    from PIL import Image

    Image.new("RGB", (64, 64), (200, 120, 90)).save(new)
    missing = run("search", new, *store, folder=yours, fails=True)
    assert f"geosim model pull TARGET {name[:12]}" in missing.stderr
    train = ("--backbone", "colour-grid", "--epochs", 2, "--seed", 1)
    run("train", sample, *train, folder=yours)
    own = load_model(Working(yours).model).fingerprint
    for command in (("search", new), ("ingest", sample)):
        refused = run(*command, *store, folder=yours, fails=True)
        assert f"`geosim model pull TARGET {name[:12]}`" in refused.stderr

    pulled = run("model", "pull", shared, folder=yours)
    assert pulled.stdout == f"{name}\n"
    assert f"an ingest still uses {own[:12]}" in pulled.stderr
    hits = run("search", new, *store, folder=yours).stdout
    assert hits == run("search", new, *store, folder=mine).stdout
    refused = run("ingest", sample, *store, folder=yours, fails=True)
    assert f"`geosim model use {name[:12]}`" in refused.stderr
    run("model", "use", name[:12], folder=yours)
    done = run("ingest", sample, *store, "--replace", folder=yours)
    assert "unchanged 96" in done.stdout
