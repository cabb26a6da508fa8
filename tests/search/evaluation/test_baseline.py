"""The colour histogram: what it counts, compares and keeps, and what a report says of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from geosim.search.evaluation.histogram import BINS, SIDE, colour_histogram, comparable

Run = Callable[..., Result]


def test_a_histogram_counts_pixels_by_colour() -> None:
    image = Image.new("RGB", (3, 2), (255, 0, 0))
    image.putpixel((0, 0), (31, 32, 255))
    counts = colour_histogram(image)
    assert counts.shape == (BINS**3,)
    assert {int(row): int(counts[row]) for row in np.flatnonzero(counts)} == {
        7 * 64: 5,
        0 * 64 + 1 * 8 + 7: 1,
    }


@pytest.mark.parametrize("size", [(SIDE * 3, SIDE), (1, SIDE * 5), (SIDE, SIDE)])
def test_large_pictures_are_sampled_without_new_colours(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, size[0], size[1] // 2))
    counts = colour_histogram(image)
    assert set(np.flatnonzero(counts)) == {0, BINS**3 - 1}
    assert counts[0] == pytest.approx(counts.sum() / 2, rel=0.02)
    assert counts.sum() <= SIDE**2


def test_the_cosine_is_the_bhattacharyya_coefficient() -> None:
    one, other = comparable(np.array([[1, 3, 0], [2, 0, 6]], dtype=np.uint32))
    assert one @ one == pytest.approx(1)
    assert one @ other == pytest.approx(np.sqrt(1 / 4 * 2 / 8))


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise, each of a colour of its own but for two pictures of the other's."""
    root, generator = tmp_path_factory.mktemp("coloured") / "rocks", np.random.default_rng(0)
    for label, colour in (("red", (200, 80, 80)), ("green", (80, 200, 80))):
        (root / label).mkdir(parents=True)
        for number in range(20):
            hue = colour if number > 1 else colour[1::-1] + colour[2:]
            pixels = generator.normal(hue, 12, (40, 50, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


OPTIONS = ("--backbone", "colour-grid", "--epochs", 1, "--format", "json", "--split", "random")


def test_every_report_has_the_baseline_for_the_same_queries(
    geosim: Run, coloured: Path, tmp_path: Path
) -> None:
    def report(*options: object) -> dict[str, list[dict[str, object]]]:
        result = geosim("evaluate", coloured, *OPTIONS, *options, "--working", tmp_path)
        assert result.exit_code == 0, result.stderr
        content: dict[str, list[dict[str, object]]] = json.loads(result.stdout)
        return content

    first = report("--seeds", "0,1")
    rows = {row["recipe"]: row for row in first["table"]}
    row = rows["colour histogram"]
    assert row["seeds"] == [0, 1]
    assert row["fit_minutes"] is row["images_per_second"] is None
    assert [run["queries"] for run in first["baseline"]] == [8, 8]
    assert {run["recipe"] for run in first["runs"]} == {"colour-grid + dense-relu"}
    # Where no picture of the wrong colour is asked for, few are found.
    for run in first["baseline"]:
        metrics = run["metrics"]
        assert 0.5 < metrics["precision_at_10"] <= 1  # type: ignore[index]
    gain = 100 * (
        rows["colour-grid + dense-relu"]["figures"]["precision_at_10"][0]  # type: ignore[index]
        - row["figures"]["precision_at_10"][0]  # type: ignore[index]
    )
    sentence = (
        f"colour-grid + dense-relu: P@10 is {abs(gain):.2f} points "
        f"{'below' if gain < 0 else 'above'} a colour histogram (random split)."
    )
    assert sentence in first["findings"]

    folder = tmp_path / "report"
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("baseline/*")}
    assert len(kept) == 4
    colours = next(folder.glob("colours-*.npz"))
    colours.write_bytes(colours.read_bytes()[:-60])
    second = report("--seeds", "0,1")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("baseline/*")} == kept
    assert second["table"] == first["table"]

    third = report("--folds", 4)
    assert len(third["baseline"]) == 2 + 4
    rows = {row["recipe"]: row for row in third["table"]}
    assert rows["colour histogram, 4 folds"]["spread"] == "4 folds"
    assert rows["colour histogram, 0.2 queries"]["figures"] == row["figures"]
    page = (folder / "report.html").read_text()
    assert "colour histogram" in page
    assert "Bhattacharyya" in page


def test_a_report_of_an_earlier_version_gets_the_baseline(
    geosim: Run, coloured: Path, tmp_path: Path
) -> None:
    """Such a folder has no colours and no baseline, and its runs lack what was added since."""
    command = ("evaluate", coloured, *OPTIONS, "--working", tmp_path)
    first = json.loads(geosim(*command).stdout)
    folder = tmp_path / "report"
    shutil.rmtree(folder / "baseline")
    next(folder.glob("colours-*.npz")).unlink()
    (run,) = (folder / "runs").glob("*.json")
    before = run.stat().st_mtime_ns, next(folder.glob("overlaps-*.npz")).stat().st_mtime_ns
    second = json.loads(geosim(*command).stdout)
    assert second == first
    after = run.stat().st_mtime_ns, next(folder.glob("overlaps-*.npz")).stat().st_mtime_ns
    assert after == before
