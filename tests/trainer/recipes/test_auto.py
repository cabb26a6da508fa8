"""Which recipe is taken: as asked, as before, or by the data; and what does not go together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from geosim.trainer import auto
from geosim.trainer.auto import Setup, choose_setup
from geosim.trainer.backbones import resnet50
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import WeightsError
from geosim.trainer.recipes import duration
from geosim.trainer.working import Working

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of ResNet50, and a processor with bfloat16."""

    def absent() -> Path:
        raise WeightsError("no ImageNet weights; give a file")

    monkeypatch.setattr(resnet50.pretrained_file, "__defaults__", (NOWHERE,))
    monkeypatch.setattr(duration, "training_policy", lambda: "mixed_bfloat16")


NOWHERE = resnet50.Published(url="http://127.0.0.1:9/notop.h5", md5="0" * 32)


def pictures(root: Path, side: int, count: int = 6) -> Path:
    for number in range(count):
        folder = root / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shade = number * 7 % 256
        Image.new("RGB", (side + number % 3 * 40, side), (shade, 9, 9)).save(
            folder / f"{number}.png"
        )
    return root


def setup(data: Path, working: Path, **options: object) -> Setup:
    return choose_setup(open_dataset(data), Working(working), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "asked", "recipe", "backbone", "head"),
    [
        (65, {}, "photograph", "efficientnet-lite-pair", "cosine"),
        (64, {}, "owner", "efficientnet-lite0", "cosine"),
        (28, {}, "owner", "efficientnet-lite0", "cosine"),
        (28, {"backbone": "efficientnet-lite0"}, "owner", "efficientnet-lite0", "cosine"),
        (28, {"backbone": "tile-resnet"}, "tile", "tile-resnet", "cosine"),
        (28, {"backbone": "colour-grid"}, "owner", "colour-grid", "dense-relu"),
        (28, {"recipe": "photograph"}, "photograph", "efficientnet-lite-pair", "cosine"),
        (28, {"recipe": "tile"}, "tile", "tile-fusion", "cosine"),
        (28, {"views": 2}, "photograph", "efficientnet-lite-pair", "cosine"),
        (300, {"head": "dense-relu"}, "owner", "efficientnet-lite0", "dense-relu"),
        (300, {"head": "cosine"}, "owner", "efficientnet-lite0", "cosine"),
        (300, {"recipe": "owner"}, "owner", "efficientnet-lite0", "dense-relu"),
        (300, {"backbone": "efficientnet-lite0"}, "photograph", "efficientnet-lite0", "cosine"),
        (300, {"backbone": "tile-fusion"}, "tile", "tile-fusion", "cosine"),
    ],
)
def test_the_choice(
    tmp_path: Path, side: int, asked: dict[str, object], recipe: str, backbone: str, head: str
) -> None:
    found = setup(pictures(tmp_path / "rocks", side), tmp_path / "w", **asked)
    assert (found.recipe.name, found.pretrained.spec.name) == (recipe, backbone)
    assert found.options.head == head
    assert "\n" not in found.why
    assert found.why.startswith(f"recipe {recipe} (")
    assert f"backbone {backbone}" in found.why
    assert ("--recipe" in found.why) == ("recipe" not in asked)


def test_many_tiles_are_learned_from_scratch_where_that_is_bearable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures(tmp_path / "rocks", 28, 20)
    monkeypatch.setattr(auto, "FEW_TILES", 20)
    found = setup(data, tmp_path / "w")
    assert (found.recipe.name, found.pretrained.spec.name) == ("tile", "tile-fusion")
    monkeypatch.setattr(duration, "TILE_SECONDS", {"mixed_bfloat16": 10.0})
    slow = setup(data, tmp_path / "w")
    assert (slow.recipe.name, slow.options.head) == ("owner", "cosine")
    assert "recipe tile takes about" in slow.why
    assert "hours here" in slow.why
    asked = setup(data, tmp_path / "w", recipe="tile")
    assert "a first training takes about" in asked.why


def test_a_long_training_of_photographs_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures(tmp_path / "rocks", 200)
    assert "takes about" not in setup(data, tmp_path / "w").why
    monkeypatch.setitem(duration.VIEW_SECONDS, "efficientnet-lite-pair", 10.0)
    assert "a first training takes about" in setup(data, tmp_path / "w").why


def test_only_a_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(tmp_path / "rocks", 100, 30)
    (data / "class0" / "000.png").write_bytes(b"broken")
    monkeypatch.setattr(auto, "SAMPLE", 4)
    read: list[bytes] = []
    measure = auto.size_of
    monkeypatch.setattr(auto, "size_of", lambda one: (read.append(one), measure(one))[1])
    assert setup(data, tmp_path / "w").recipe.name == "photograph"
    assert 0 < len(read) <= 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--recipe", "tile", "--backbone", "resnet50"), "it is frozen; take tile-fusion"),
        (("--recipe", "owner", "--backbone", "tile-resnet"), "take --recipe tile"),
        (("--recipe", "photograph", "--backbone", "tile-fusion"), "take --recipe tile"),
        (("--recipe", "owner", "--views", 4), "take --recipe photograph"),
        (("--recipe", "tile", "--views", 4), "has views of its own"),
        (("--recipe", "tile", "--head", "dense-relu"), "leave --head out"),
        (("--recipe", "photograph", "--head", "cosine"), "take --recipe owner"),
        (("--head", "cosine", "--views", 2), "take --recipe photograph"),
        (("--recipe", "best"), "expected auto, owner, photograph, tile"),
        (("--recipe", "tile", "--weights", "x.h5"), "it is frozen"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    geosim: Run, tmp_path: Path, options: tuple[object, ...], told: str
) -> None:
    data = pictures(tmp_path / "rocks", 100)
    for command in ("train", "run", "evaluate"):
        refused = geosim(command, data, *options, "--working", tmp_path / "w")
        assert refused.exit_code == 1, refused.output
        (line,) = refused.stderr.splitlines()
        assert line.startswith("Error: ")
        assert told in line
    assert not (tmp_path / "w" / "model").exists()


def test_options_come_from_the_environment(
    geosim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSIM_RECIPE", "owner")
    monkeypatch.setenv("GEOSIM_VIEWS", "3")
    refused = geosim("train", pictures(tmp_path / "rocks", 100), "--working", tmp_path / "w")
    assert "received --views 3" in refused.stderr


def earlier(working: Working) -> Working:
    """The model of `working` as versions without recipes wrote its card."""
    card = json.loads((working.model / "model.json").read_bytes())
    del card["training"]["recipe"]
    (working.model / "model.json").write_text(json.dumps(card))
    return working


def test_the_model_at_hand_keeps_its_recipe(
    working: Working, sample: Path, geosim: Run, tmp_path: Path
) -> None:
    before = (earlier(working).model / "model.json").read_bytes()
    again = geosim("run", sample, "--epochs", 5, "--working", working.root)
    assert again.exit_code == 0, again.output
    assert "recipe owner (as the model in " in again.stderr
    assert "kept, it is up to date" in again.stderr
    assert (working.model / "model.json").read_bytes() == before
    copy = shutil.copytree(sample, tmp_path / "others")
    assert setup(copy, working.root).pretrained.spec.name == "efficientnet-lite0"


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"backbone": "colour-grid"}, True),
        ({"backbone": "efficientnet-lite0"}, False),
        ({"recipe": "owner"}, False),
        ({"head": "dense-relu"}, False),
        ({"views": 2}, False),
        ({"epochs": 7}, True),
    ],
)
def test_what_is_asked_for_goes_before_the_model_at_hand(
    working: Working, sample: Path, asked: dict[str, object], kept: bool
) -> None:
    assert ("as the model in" in setup(sample, working.root, **asked).why) is kept


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"fingerprint": 1}', '{"fingerprint": 1, "training": 3}']
)
def test_a_damaged_model_decides_nothing(working: Working, sample: Path, damage: str) -> None:
    (working.model / "model.json").write_text(damage)
    assert "as the model in" not in setup(sample, working.root).why


@pytest.mark.parametrize(
    ("key", "value"),
    [("head", "x"), ("head", 3), ("recipe", "x"), ("recipe", ["x"]), ("dataset", None)],
)
def test_a_wrong_entry_of_a_model_decides_nothing(
    working: Working, sample: Path, key: str, value: object
) -> None:
    card = json.loads((working.model / "model.json").read_bytes())
    card["training"][key] = value
    (working.model / "model.json").write_text(json.dumps(card))
    assert "as the model in" not in setup(sample, working.root).why


@pytest.mark.parametrize("views", [0, -1, 1.5, "x", None])
def test_a_wrong_number_of_views_of_a_model_decides_nothing(
    working: Working, sample: Path, views: object
) -> None:
    card = json.loads((working.model / "model.json").read_bytes())
    card["training"] |= {"recipe": "photograph", "views": views}
    (working.model / "model.json").write_text(json.dumps(card))
    assert ("as the model in" in setup(sample, working.root).why) is (views is None)


def test_a_kept_head_stays(working: Working, sample: Path, geosim: Run) -> None:
    options = ("--epochs", 2, "--working", working.root)
    assert geosim("train", sample, "--head", "cosine", *options).exit_code == 0
    again = geosim("train", sample, *options)
    assert "kept, it is up to date" in again.stderr


def test_help_lists_the_recipes(geosim: Run) -> None:
    for command in ("train", "run", "evaluate"):
        told = " ".join(geosim(command, "--help").stdout.split())
        assert "photograph (a frozen backbone sees several views" in told
        assert "GEOSIM_RECIPE" in told
        assert "GEOSIM_VIEWS" in told
