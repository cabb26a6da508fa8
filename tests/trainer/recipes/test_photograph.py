"""The photograph recipe through the commands: trained, ingested, searched, evaluated, kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.trainer.backbones.registry import choose, spec_of
from geosim.trainer.data import views as view_table
from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.errors import ModelError
from geosim.trainer.inputs import read_inputs
from geosim.trainer.model import load_model
from geosim.trainer.recipes import photograph
from geosim.trainer.recipes.registry import recipe_called
from geosim.trainer.train import fit_model, train, training_recipe
from geosim.trainer.working import Working

Run = Callable[..., Result]
COLOURS = ("--recipe", "photograph", "--backbone", "colour-grid", "--epochs", 3)


@pytest.fixture(scope="module")
def photographs(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight pictures of 90 pixels and more."""
    root = tmp_path_factory.mktemp("photographs") / "photos"
    for label in ("granite", "schist", "marble"):
        (root / label).mkdir(parents=True)
        for number, path in enumerate(sorted((sample / label).glob("*.jpg"))[:8]):
            with Image.open(path) as image:
                image.resize((90 + number, 120)).save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def made(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Working:
    """A working folder with a model of `photographs` and their collection; read only."""
    from geosim.search.cli.main import geosim as group

    working = Working(tmp_path_factory.mktemp("made") / "working")
    line = ["run", photographs, *COLOURS, "--working", working.root, "-k", 3]
    group([str(one) for one in line], standalone_mode=False)
    return working


@pytest.fixture
def working(made: Working, tmp_path: Path) -> Working:
    return Working(Path(shutil.copytree(made.root, tmp_path / "working")))


def test_the_card_tells_the_recipe_and_its_views(made: Working) -> None:
    card = json.loads((made.model / "model.json").read_bytes())
    assert card["training"]["recipe"] == "photograph"
    assert card["training"]["views"] == photograph.VIEWS
    assert card["views"] == {
        "embedding": photograph.VIEWS,
        "training": photograph.VIEWS,
        "table": view_table.views_digest(),
    }
    assert f"the first {photograph.VIEWS} views" in card["preprocessing"]
    assert load_model(made.model).head.views == photograph.VIEWS


def test_the_whole_job_again_repeats_nothing(
    geosim: Run, working: Working, photographs: Path
) -> None:
    before = (working.model / "model.json").read_bytes()
    again = geosim("run", photographs, *COLOURS, "--working", working.root, "-k", 3)
    assert again.exit_code == 0, again.output
    assert "kept, it is up to date" in again.stderr
    assert "unchanged 24" in again.stderr
    assert (working.model / "model.json").read_bytes() == before


def test_a_picture_embeds_the_same_from_cache_file_and_memory(
    geosim: Run, working: Working, photographs: Path, tmp_path: Path
) -> None:
    model = load_model(working.model)
    data = (photographs / "marble" / "3.png").read_bytes()
    dataset = open_dataset(photographs)
    fresh = model.extractor(tmp_path / "none").features(data)
    embedded = model.head(fresh[None])[0]
    vectors = json.loads(working.embeddings.read_bytes()) if working.embeddings.exists() else {}
    stored = np.array(vectors["photos/marble/3.png"], np.float32)
    assert float(stored @ embedded) == pytest.approx(1, abs=1e-6)
    inputs = read_inputs(dataset, choose("colour-grid")[0], working, photograph.PhotographOptions())
    assert inputs.array.shape == (24, photograph.VIEWS, 384)
    assert inputs.array.dtype == np.float16
    assert inputs.computed == 0, "the training's features"
    shutil.copy(photographs / "marble" / "3.png", tmp_path / "new.png")
    with (tmp_path / "new.png").open("ab") as file:
        file.write(b" ")  # other random views, the same fixed ones
    found = geosim(
        *("search", tmp_path / "new.png", "-k", 2, "--format", "json", "--working", working.root)
    )
    (hit, _) = json.loads(found.stdout)[0]["hits"]
    assert hit["path"] == "photos/marble/3.png"
    assert hit["score"] == pytest.approx(1, abs=1e-5)


def test_fewer_views_are_another_model_of_the_same_features(
    geosim: Run, working: Working, photographs: Path
) -> None:
    before = load_model(working.model)
    two = geosim("train", photographs, *COLOURS, "--views", 2, "--working", working.root)
    assert two.exit_code == 0, two.output
    assert "(0 through the backbone)" in two.stderr
    after = load_model(working.model)
    assert after.head.views == 2
    assert after.fingerprint != before.fingerprint
    refused = geosim("ingest", photographs, "--working", working.root)
    assert refused.exit_code == 1
    assert "was made by the model" in refused.stderr


def test_a_model_of_other_views_is_refused_and_made_anew(
    working: Working, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_table, "VERSION", 99)
    with pytest.raises(ModelError, match="takes other views of a picture; train one with"):
        load_model(working.model)
    options = photograph.PhotographOptions(epochs=1, views=2)
    report = train(open_dataset(photographs), choose("colour-grid")[0], working, options)
    assert (report.reused, report.computed) == (False, 24)
    assert load_model(working.model).head.views == 2


@pytest.mark.slow
def test_evaluate_names_the_recipe(geosim: Run, photographs: Path, tmp_path: Path) -> None:
    options = ("--split", "random", "--test-share", 0.25, "--working", tmp_path / "working")
    for views in (2, 3):
        done = geosim("evaluate", photographs, *COLOURS, "--views", views, *options)
        assert done.exit_code == 0, done.output
    assert "photograph: colour-grid, 2 views" in done.stdout
    assert "photograph: colour-grid, 3 views" in done.stdout
    owner = geosim("evaluate", photographs, "--recipe", "owner", *COLOURS[2:], *options)
    assert "colour-grid + dense-relu" in owner.stdout
    assert "photograph: colour-grid, 2 views" in owner.stdout


def test_the_constants_of_fit_and_views_count_for_this_recipe_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, recipe = spec_of("efficientnet-lite0"), recipe_called("photograph")
    before = training_recipe(spec, recipe)
    assert before
    for owner, name in ((view_table, "CROP_SIDE"), (photograph, "VIEWS")):
        with monkeypatch.context() as context:
            context.setattr(owner, name, 0.123)
            assert training_recipe(spec, recipe) != before
            assert training_recipe(spec) == ""


@pytest.mark.parametrize(("views", "trained"), [(1, 7), (7, 7), (9, 9)])
def test_a_head_that_sees_few_views_is_taught_by_seven(views: int, trained: int) -> None:
    recipe, spec = recipe_called("photograph"), spec_of("efficientnet-lite0")
    options = photograph.PhotographOptions(views=views)
    assert recipe.training_views(spec, options, 100) == trained


def test_a_fit_on_a_part_embeds_all(photographs: Path, working: Working) -> None:
    options = photograph.PhotographOptions(epochs=1)
    inputs = read_inputs(open_dataset(photographs), choose("colour-grid")[0], working, options)
    embedded = fit_model(inputs, np.arange(0, 24, 2), options).embed(inputs.array)
    assert embedded.shape == (24, 32)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
