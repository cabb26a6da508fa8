"""The saved model against damage, and against a kill at any step of writing it."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geosim.trainer.backbones.registry import BACKBONES, choose, spec_of
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import ModelError
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.heads.head import Head
from geosim.trainer.kept import read_card
from geosim.trainer.model import CARD, Model, fingerprint_of, load_model, save_model
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.train import train
from geosim.trainer.working import Working

REMEDY = "geosim train DATA"

# Writes a model with twice the head into a folder and dies at one step of it.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from geosim.trainer.heads.head import Head
from geosim.trainer.model import fingerprint_of, load_model, save_model

folder, method, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
original, calls = getattr(Path, method), 0

def dying(self, *arguments, **options):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments, **options)

old = load_model(folder)
head = Head(old.head.kernel * 2, old.head.bias)
fingerprint = fingerprint_of(old.card["backbone"]["fingerprint"], head)
setattr(Path, method, dying)
save_model(folder, head, None, {**old.card, "fingerprint": fingerprint}, old.card)
"""


def the_head(folder: Path) -> Path:
    (path,) = folder.glob("head-*.npz")
    return path


def twice(model: Model) -> tuple[Head, dict[str, Any]]:
    head = Head(model.head.kernel * 2, model.head.bias)
    fingerprint = fingerprint_of(model.card["backbone"]["fingerprint"], head)
    return head, {**model.card, "fingerprint": fingerprint}


def test_a_model_comes_back_as_it_was_trained(working: Working) -> None:
    model = load_model(working.model)
    assert model.spec.name == "colour-grid"
    assert len(model.classes) == 8
    assert list(model.classes) == sorted(model.classes)
    assert model.fingerprint == read_card(working.model)["fingerprint"]
    assert model.head.kernel.shape == (384, 32)
    model.check()


def test_there_is_no_model_yet(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelError, match=f"there is no model in .*{REMEDY}"):
            load_model(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"classes": []}', b'"text"']
)
def test_a_damaged_card_is_refused(working: Working, content: bytes) -> None:
    (working.model / CARD).write_bytes(content)
    with pytest.raises(ModelError, match=f"model card .* is damaged.*{REMEDY}") as caught:
        load_model(working.model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key, value)
        for key in ("fingerprint", "backbone", "classes", "files")
        for value in (None, 3, [], {}, "text")
        if (key, value) != ("classes", [])  # a model learned without classes
    ],
)
def test_a_card_with_a_wrong_entry_is_refused(working: Working, key: str, value: object) -> None:
    card = json.loads((working.model / CARD).read_bytes())
    (working.model / CARD).write_text(json.dumps({**card, key: value}))
    with pytest.raises(ModelError, match=f"(damaged|incomplete).*{REMEDY}"):
        load_model(working.model)


@pytest.mark.parametrize("key", ["backbone", "classes", "files"])
def test_a_card_without_an_entry_is_refused(working: Working, key: str) -> None:
    card = json.loads((working.model / CARD).read_bytes())
    del card[key]
    (working.model / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=f"model card .* is incomplete.*{REMEDY}"):
        load_model(working.model)


def test_a_card_of_an_unknown_backbone_is_refused(working: Working) -> None:
    card = json.loads((working.model / CARD).read_bytes())
    card["backbone"]["name"] = "resnet34"
    (working.model / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"unknown backbone 'resnet34'"):
        load_model(working.model)


def test_a_model_of_another_recipe_is_refused_and_made_anew(
    working: Working, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BACKBONES["colour-grid"]
    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, version=spec.version + 1))
    with pytest.raises(ModelError, match=f"another version of geosim.*{REMEDY}"):
        load_model(working.model)
    dataset, (pretrained, _) = open_dataset(sample), choose(spec.name)
    assert not train(dataset, pretrained, working, TrainOptions(epochs=1)).reused
    assert load_model(working.model).spec.version == spec.version + 1


def test_a_changed_fingerprint_is_refused(working: Working) -> None:
    card = json.loads((working.model / CARD).read_bytes())
    (working.model / CARD).write_text(json.dumps({**card, "fingerprint": "0" * 64}))
    with pytest.raises(ModelError, match=f"its fingerprint is not that of .*{REMEDY}"):
        load_model(working.model)


def test_a_card_never_points_outside_its_folder(working: Working, tmp_path: Path) -> None:
    shutil.move(the_head(working.model), tmp_path / "head.npz")
    card = json.loads((working.model / CARD).read_bytes())
    card["files"]["head"]["file"] = "../../head.npz"
    (working.model / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="missing or unreadable"):
        load_model(working.model)


def test_a_missing_head_is_refused(working: Working) -> None:
    the_head(working.model).unlink()
    with pytest.raises(ModelError, match=rf"head-.*\.npz of the model is missing.*{REMEDY}"):
        load_model(working.model)


def test_a_changed_byte_in_the_head_is_refused(working: Working) -> None:
    path = the_head(working.model)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"head-.*\.npz is damaged: SHA-256 .*{REMEDY}"):
        load_model(working.model)


def test_a_new_model_takes_the_old_one_s_place(working: Working) -> None:
    old = load_model(working.model)
    head, card = twice(old)
    save_model(working.model, head, None, card, old.card)
    new = load_model(working.model)
    assert new.fingerprint == card["fingerprint"] != old.fingerprint
    np.testing.assert_array_equal(new.head.kernel, old.head.kernel * 2)
    assert sorted(path.name for path in working.model.iterdir()) == sorted(
        ["loss.png", CARD, the_head(working.model).name, "needed.json", ".lock"]
    )


@pytest.mark.parametrize(
    ("method", "at", "is_new"),
    [
        # The first file is the note of who writes.
        pytest.param("replace", 2, False, id="before the head has its name"),
        pytest.param("replace", 3, False, id="before the card has its name"),
        # `replacing` removes its temporary once per file, then the old head is removed.
        pytest.param("unlink", 2, False, id="after the head, before the card"),
        pytest.param("unlink", 3, True, id="after the card"),
        pytest.param("unlink", 4, True, id="before the old head is removed"),
    ],
)
def test_a_kill_leaves_the_old_model_or_the_new_one(
    working: Working, method: str, at: int, is_new: bool
) -> None:
    old = load_model(working.model)
    head, card = twice(old)
    command = [sys.executable, "-c", SCRIPT, str(working.model), method, str(at)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    found = load_model(working.model)
    assert found.fingerprint == (card["fingerprint"] if is_new else old.fingerprint)
    save_model(working.model, head, None, card, old.card)
    assert load_model(working.model).fingerprint == card["fingerprint"]
    assert len(list(working.model.glob("head-*"))) == 1


def retrain(lite0_trained: Working, working: Working) -> Any:
    dataset = open_dataset(lite0_trained.root.parent / "rocks")
    return train(dataset, choose("efficientnet-lite0")[0], working, TrainOptions(epochs=1))


@pytest.fixture
def lite0_working(lite0_trained: Working, tmp_path: Path) -> Working:
    return Working(Path(shutil.copytree(lite0_trained.root, tmp_path / "working")))


def test_the_saved_backbone_gives_the_features_it_was_trained_on(lite0_working: Working) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    saved = load_model(lite0_working.model).extractor(lite0_working.features).backbone
    spec = spec_of("efficientnet-lite0")
    published = choose_runtime(choose(spec.name)[0].load(), spec.precision)
    np.testing.assert_array_equal(saved(images), published(images))


@pytest.mark.parametrize(("ending", "missing"), [(".xml", False), (".bin", False), (".bin", True)])
def test_a_damaged_backbone_is_told_and_made_again(
    lite0_trained: Working, lite0_working: Working, ending: str, missing: bool
) -> None:
    (path,) = lite0_working.model.glob(f"backbone-*{ending}")
    if missing:
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    model = load_model(lite0_working.model)  # cached features need no backbone
    with pytest.raises(ModelError, match=rf"backbone-.*(damaged|missing).*{REMEDY}"):
        _ = model.extractor(lite0_working.features).backbone
    report = retrain(lite0_trained, lite0_working)  # the remedy that was named
    assert not report.reused
    load_model(lite0_working.model).check()


def test_a_model_that_is_whole_is_not_made_again(
    lite0_trained: Working, lite0_working: Working
) -> None:
    report = retrain(lite0_trained, lite0_working)
    assert (report.reused, report.computed) == (True, 0)
