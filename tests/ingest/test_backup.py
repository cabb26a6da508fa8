"""Backups of a collection with its model."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from geosim.ingest.backup import back_up, restore
from geosim.ingest.backup_file import MODEL, BackupFile, Manifest, write_backup
from geosim.ingest.schema import ModelRef
from geosim.ingest.store.edge import EdgeStore
from geosim.search.marks import RIGHT, WRONG, Mark, Marks, Verdict
from geosim.trainer.errors import ModelMismatchError, StoreError
from geosim.trainer.files import sha256_of
from geosim.trainer.kept import NEEDED, fingerprints
from geosim.trainer.model import load_model
from geosim.trainer.working import Working
from tests.ingest.test_transfer import KINDS, ORIGIN, content, fill, payloads, vectors
from tests.memory import engine
from tests.test_cli import failed
from tests.trainer.test_kept import train

Run = Callable[..., Result]

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


def model_of(working: Working) -> ModelRef:
    model = load_model(working.model)
    return ModelRef(model.fingerprint, model.spec.name)


@pytest.fixture
def filled(working: Working) -> Working:
    """A working folder with a model, and a collection of 60 points."""
    with EdgeStore(working.qdrant, "geosim") as store:
        fill(store, model=model_of(working))
    return working


@pytest.fixture
def backup(geosim: Run, filled: Working, tmp_path: Path) -> Path:
    file = tmp_path / "rocks.zip"
    done = geosim("backup", file, "--working", filled.root)
    assert done.exit_code == 0, done.output
    return file


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def points(working: Working, name: str = "geosim") -> dict[object, bytes]:
    with EdgeStore(working.qdrant, name) as store:
        return dict(content(store))


def test_a_backup_is_restored_where_nothing_is(
    geosim: Run, filled: Working, backup: Path, tmp_path: Path
) -> None:
    new = Working(tmp_path / "new")
    done = geosim("restore", backup, "--working", new.root)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"collection geosim at {new.qdrant}: 60 points")
    assert points(new) == points(filled)
    with EdgeStore(new.qdrant, "geosim") as store:
        assert (store.fact_indexes(), store.origins()) == (KINDS, {"rocks": ORIGIN})
    load_model(new.model).check()
    assert model_of(new) == model_of(filled)
    assert entries(new.root) <= {"model", "qdrant"}
    needed = json.loads((new.model / "needed.json").read_bytes())
    assert [model_of(new).fingerprint] in needed.values(), "a training keeps it"
    again = geosim("restore", backup, "--working", new.root)
    assert again.exit_code == 0, "there is the same already"


def marked(working: Working, verdict: Verdict, collection: str = "geosim") -> Marks:
    marks = Marks(working, collection)
    marks.set(Mark("q", "a photo", "rocks/a.jpg", "granite", verdict, "2026-01-01T00:00:00Z"))
    return marks


def test_marks_are_backed_up_and_restored(geosim: Run, filled: Working, tmp_path: Path) -> None:
    file, new = tmp_path / "rocks.zip", Working(tmp_path / "new")
    marked(filled, RIGHT)
    assert geosim("backup", file, "--working", filled.root).exit_code == 0
    command = ("restore", file, "--working", new.root)
    assert geosim(*command, "--collection", "other").exit_code == 0
    assert [*Marks(new, "other").csv()] == [*Marks(filled, "geosim").csv()]
    assert Marks(new, "other").of("q") == {"rocks/a.jpg": RIGHT}
    assert Marks(new, "geosim").of("q") == {}, "they are the collection's of this name"

    marked(new, WRONG)
    done = geosim(*command)
    assert done.exit_code == 0, done.output
    assert "other marks are there, which stay; add --replace to have those" in done.stderr
    assert Marks(new, "geosim").of("q") == {"rocks/a.jpg": WRONG}
    assert geosim(*command, "--replace").exit_code == 0
    assert Marks(new, "geosim").of("q") == {"rocks/a.jpg": RIGHT}
    again = geosim(*command)
    assert (again.exit_code, "marks" in again.stderr) == (0, False), "the same are there"


def test_a_backup_without_marks_leaves_those_that_are_there(
    geosim: Run, filled: Working, backup: Path
) -> None:
    marked(filled, WRONG)
    done = geosim("restore", backup, "--working", filled.root, "--replace")
    assert done.exit_code == 0, done.output
    assert Marks(filled, "geosim").of("q") == {"rocks/a.jpg": WRONG}


def test_a_collection_that_was_made_anew_is_backed_up(
    geosim: Run, filled: Working, tmp_path: Path
) -> None:
    with EdgeStore(filled.qdrant, "geosim") as store, store.rebuilt(model_of(filled)) as new:
        fill(new, 40, model_of(filled))
    file, restored = tmp_path / "rocks.zip", Working(tmp_path / "new")
    for command, working in (("backup", filled), ("restore", restored)):
        done = geosim(command, file, "--working", working.root)
        assert done.exit_code == 0, done.output
    assert points(restored) == points(filled)
    assert len(points(restored)) == 40


def test_a_backup_in_a_folder_has_a_name_of_its_own(
    geosim: Run, filled: Working, tmp_path: Path
) -> None:
    command = ("backup", f"{tmp_path / 'backups'}/", "--working", filled.root)
    assert geosim(*command).exit_code == 0
    (file,) = (tmp_path / "backups").iterdir()
    assert file.name.startswith("geosim-2")
    assert "exists already" in failed(geosim("backup", file, "--working", filled.root))
    done = geosim("restore", file, "--working", filled.root, "--collection", "other")
    assert done.exit_code == 0, done.output
    assert points(filled, "other") == points(filled)


@pytest.mark.parametrize("name", ["memory", "server", "cluster"])
def test_a_server_is_backed_up_and_restored(filled: Working, tmp_path: Path, name: str) -> None:
    """The one in memory has no snapshots, like a cluster."""
    file, there = tmp_path / "b.zip", Working(tmp_path / "there")
    with engine(name, tmp_path) as store, engine(name, tmp_path) as other:
        fill(store, model=model_of(filled))
        before = content(store)
        made = back_up(store, filled, file, wait=0)
        assert (made.points, bool(made.snapshot_sha256)) == (60, name == "server")
        assert entries(tmp_path) == {"working", "b.zip"}, "nothing else is left"
        for target in (store, other):
            if target is store:
                target.delete([payloads(1)[0].id])
                target.upsert(payloads(2)[1:], vectors(1))
                with BackupFile(file) as backup, pytest.raises(StoreError, match="--replace"):
                    restore(backup, target, there)
                assert target.count() == 59
            with BackupFile(file) as backup:
                assert restore(backup, target, there, replace=True) == 60
            assert content(target) == before
            assert target.origins() == {"rocks": ORIGIN}
            if name != "memory":
                assert target.fact_indexes() == KINDS
        assert model_of(there) == model_of(filled)
        if name == "server":
            with (
                engine("edge", tmp_path / "q") as edge,
                BackupFile(file) as backup,
                pytest.raises(StoreError, match="geosim copy"),
            ):
                restore(backup, edge, there)


def test_a_server_that_does_not_answer_is_told(
    geosim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup is of a server, and whether one can load it is not known then."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "snapshot").write_bytes(b"x")
    manifest = Manifest("geosim", ModelRef("a" * 64, "x"), 1, "server", False, "0" * 64)
    write_backup(tmp_path / "b.zip", manifest, {"snapshot": tmp_path / "snapshot"})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        options = ("--qdrant", url, "--wait", 0, "--working", tmp_path / "w")
        assert f"no Qdrant server answers at {url}" in failed(
            geosim("restore", tmp_path / "b.zip", *options)
        )
    embedded = failed(geosim("restore", tmp_path / "b.zip", "--working", tmp_path / "w"))
    assert "restore it to a server of one node" in embedded
    assert not (tmp_path / "w").exists()


def test_what_is_there_is_replaced_only_if_told_to(
    geosim: Run, filled: Working, backup: Path, tmp_path: Path
) -> None:
    command = ("restore", backup, "--working", filled.root)
    with EdgeStore(filled.qdrant, "geosim") as store:
        store.delete([payloads(1)[0].id])
        store.set_origin("mine", ORIGIN)
    assert "add --replace" in failed(geosim(*command))
    assert len(points(filled)) == 59
    assert geosim(*command, "--replace").exit_code == 0
    assert len(points(filled)) == 60
    (head,) = filled.model.glob("head-*")
    head.write_bytes(b"damaged")
    assert geosim(*command).exit_code == 0, "a damaged model is no sound one"
    load_model(filled.model).check()


def test_a_model_is_restored_beside_another(
    geosim: Run, filled: Working, backup: Path, tmp_path: Path
) -> None:
    """As `geosim model pull` brings it: the current one stays what an ingest uses."""
    mine, other = load_model(filled.model), Working(tmp_path / "other")
    shutil.copytree(filled.model, other.model)
    (other.model / NEEDED).write_text("{}")
    train(other.model, 2)
    current = load_model(other.model).fingerprint
    assert fingerprints(other.model) == [current]
    done = geosim("restore", backup, "--working", other.root)
    assert done.exit_code == 0, done.output
    assert f"an ingest still uses {current[:12]}" in done.stderr
    assert fingerprints(other.model) == [current, mine.fingerprint]
    load_model(other.model, mine.fingerprint).check()


def test_a_model_is_not_written_over_other_files(geosim: Run, backup: Path, tmp_path: Path) -> None:
    """Of a folder of models, as a foreign card may name any."""
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(tmp_path / "c.zip", "w", 8) as made:
        (head,) = (name for name in old.namelist() if name.startswith("model/head"))
        for name in old.namelist():
            content_ = old.read(name)
            if name in ("model/model.json", "backup.json"):
                content_ = content_.replace(head[6:].encode(), b"needed.json")
            made.writestr("model/needed.json" if name == head else name, content_)
    message = failed(geosim("restore", tmp_path / "c.zip", "--working", tmp_path / "new"))
    assert "files of other names" in message
    assert entries(tmp_path / "new" / "model") == set()


def test_the_model_of_the_collection_is_needed(
    geosim: Run, backup: Path, filled: Working, tmp_path: Path
) -> None:
    shutil.rmtree(filled.model)
    command = ("backup", tmp_path / "alone.zip", "--working", filled.root)
    assert "--without-model" in failed(geosim(*command))
    assert geosim(*command, "--without-model").exit_code == 0
    new = ("--working", tmp_path / "new")
    done = geosim("restore", tmp_path / "alone.zip", *new)
    assert done.exit_code == 0, done.output
    assert "without its model" in done.stderr
    assert entries(tmp_path / "new" / "model") == set()


def test_no_collection_makes_no_file(geosim: Run, working: Working, tmp_path: Path) -> None:
    told = failed(geosim("backup", tmp_path / "b.zip", "--working", working.root))
    assert "there is no collection" in told
    assert entries(tmp_path) == {"working"}


def test_another_model_made_the_collection(working: Working, tmp_path: Path) -> None:
    with EdgeStore(working.qdrant, "geosim") as store:
        fill(store)
        with pytest.raises(ModelMismatchError, match="--without-model"):
            back_up(store, working, tmp_path / "b.zip", wait=0)
    assert entries(tmp_path) == {"working"}


# Damage


def small(file: Path, *names: str) -> dict[str, bytes]:
    """Write a backup of small files, and return them by name."""
    rng, content = random.Random(3), {}
    for number, name in enumerate(names):
        content[name] = file.parent / f"{number}.part"
        content[name].write_bytes(rng.randbytes(300) + bytes(300))
    write_backup(file, Manifest("geosim", ModelRef("a" * 64, "x"), 1, "e", True), content)
    return {name: path.read_bytes() for name, path in content.items()}


def read(file: Path, folder: Path) -> dict[str, bytes] | str:
    """Return the files of the model in a backup, or the error."""
    folder.mkdir()
    try:
        with BackupFile(file) as backup:
            backup.extract(MODEL, folder)
    except StoreError as error:
        return str(error)
    return {f"{MODEL}/{path.name}": path.read_bytes() for path in (folder / MODEL).iterdir()}


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    file, damaged = tmp_path / "b.zip", tmp_path / "d.zip"
    expected = small(file, "model/a", "model/b")
    whole, rng = file.read_bytes(), random.Random(5)
    cases = [whole[:at] for at in range(0, len(whole), 40)]
    for _ in range(600):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        cases.append(bytes(changed))
    found = 0
    for number, case in enumerate(cases):
        damaged.write_bytes(case)
        got = read(damaged, tmp_path / f"out{number}")
        if isinstance(got, str):
            assert got.startswith(f"{damaged} "), got
            assert "\n" not in got
            found += 1
        else:
            assert got == expected, "what was changed matters to nothing, such as a time"
    assert found > 0.8 * len(cases)


@pytest.mark.parametrize("name", ["model/../../out", "/model/out", "model/../../../tmp/out"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    small(tmp_path / "b.zip", "model/a")
    with (
        zipfile.ZipFile(tmp_path / "b.zip") as old,
        zipfile.ZipFile(tmp_path / "c.zip", "w") as new,
    ):
        manifest = json.loads(old.read("backup.json"))
        manifest["content"].append(name)
        for one, content_ in (("model/a", b"a"), (name, b"evil")):
            new.writestr(one, content_)
        new.writestr("backup.json", json.dumps(manifest))
    got = read(tmp_path / "c.zip", tmp_path / "out1")
    assert got == {"model/a": b"a"} if name.startswith("/") else "leads out" in got
    assert not [path for path in tmp_path.rglob("out") if path.is_file()]
    assert not Path("/model").exists()


@pytest.mark.parametrize(
    "kind", ["empty", "text", "zip", "list", "name", "points", "more", "later"]
)
def test_a_foreign_file_is_refused(geosim: Run, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "b.zip"
    sound = {"geosim-backup": 1, "collection": "a", "model": {"fingerprint": "f", "backbone": "b"}}
    sound |= {"points": 1, "engine": "e", "with_model": False, "snapshot_sha256": ""}
    sound |= {"content": ["notes.txt"]}
    changed = {
        "list": [sound],
        "name": sound | {"collection": "../x"},
        "points": sound | {"points": None},
        "later": {"geosim-backup": 2},
        "more": sound | {"content": []},
    }
    if kind in ("empty", "text"):
        file.write_text("no archive" if kind == "text" else "")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("notes.txt", "mine")
            if kind != "zip":
                archive.writestr("backup.json", json.dumps(changed[kind]))
    message = failed(geosim("restore", file, "--working", tmp_path / "w"))
    assert str(file) in message
    assert ("update geosim" if kind == "later" else "is no backup of geosim") in message
    assert not (tmp_path / "w").exists()


def test_damage_inside_changes_nothing(geosim: Run, backup: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(backup) as archive:
        names = archive.namelist()
    config = next(name for name in names if name.endswith("edge_config.json"))
    head = next(name for name in names if name.startswith("model/head"))
    for number, (dropped, changed) in enumerate([(config, ""), ("", config), ("", head)]):
        file, new = tmp_path / f"{number}.zip", tmp_path / f"new{number}"
        with zipfile.ZipFile(backup) as old, zipfile.ZipFile(file, "w", 8) as made:
            for name in names:
                if name != dropped:
                    made.writestr(name, b"x" if name == changed else old.read(name))
        message = failed(geosim("restore", file, "--working", new))
        assert str(file) in message
        assert ".geosim-" not in message, "no private folder is named"
        assert not entries(new / "model") or number < 2
        assert not (new / "qdrant" / "geosim.json").exists()


# Kills

KILLED = """
import os, sys
from geosim.ingest import backup_file, transfer
from geosim.ingest.store import edge
from geosim.trainer import model_files
calls, last = [], int(sys.argv.pop(1))
def killing(owner, name):
    call = getattr(owner, name)
    def counted(*arguments, **options):
        calls.append(name)
        if len(calls) == last:
            os._exit(9)  # as after a kill: nothing is closed or deleted
        return call(*arguments, **options)
    setattr(owner, name, counted)
killing(backup_file.ZipFile, "write")
killing(backup_file, "write_sparse")
killing(model_files.shutil, "move")
killing(edge.EdgeStore, "create")
killing(edge.EdgeStore, "_upsert")
killing(edge.EdgeStore, "set_origin")
from geosim.search.cli.main import geosim
geosim(sys.argv[1:])
"""


def killed(last: int, *command: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(last), *map(str, command)],
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 9, done.stderr


def test_a_killed_backup_leaves_no_half_file(geosim: Run, filled: Working, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    command = ("backup", folder / "b.zip", "--working", filled.root)
    for last in (3, 30):
        killed(last, *command)
        assert not (folder / "b.zip").exists()
    assert geosim(*command).exit_code == 0
    assert entries(folder) == {"b.zip"}


def test_a_killed_restore_goes_on(
    geosim: Run, filled: Working, backup: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(backup) as archive:
        files = [name for name in archive.namelist() if not name.endswith("/")]
    model = sum(name.startswith("model/") for name in files)
    first = len(files) - 1  # calls of write_sparse, without the manifest
    new, digest = Working(tmp_path / "new"), sha256_of(backup)
    command = ("restore", backup, "--working", new.root)
    for last in (2, first + 1, first + model + 1):
        killed(last, *command)
    assert geosim(*command).exit_code == 0
    assert points(new) == points(filled)
    load_model(new.model).check()
    assert entries(new.root) == {"model", "qdrant"}
    assert sha256_of(backup) == digest
