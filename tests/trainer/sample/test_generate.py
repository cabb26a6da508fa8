"""The generated sample: same pixels every time, told apart by texture, whole or not there."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from geosim.trainer.errors import DatasetError
from geosim.trainer.sample.generate import write_sample
from geosim.trainer.sample.textures import SAMPLE_CLASSES, draw


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_class_has_its_folder_of_pictures(tmp_path):
    folder = write_sample(tmp_path / "deep" / "rocks", per_class=2, size=24)
    assert folder == tmp_path / "deep" / "rocks"
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == sorted(SAMPLE_CLASSES)
    assert len(SAMPLE_CLASSES) >= 8
    for label in SAMPLE_CLASSES:
        pictures = sorted((folder / label).iterdir())
        assert [p.name for p in pictures] == [f"{label}-0000.jpg", f"{label}-0001.jpg"]
        for path in pictures:
            with Image.open(path) as picture:
                assert (picture.size, picture.mode, picture.format) == ((24, 24), "RGB", "JPEG")


def test_nothing_but_the_sample_is_left_behind(tmp_path):
    write_sample(tmp_path / "rocks", per_class=1, size=16)
    assert [p.name for p in tmp_path.iterdir()] == ["rocks"]


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path):
    first = contents(write_sample(tmp_path / "a", per_class=2, size=24, seed=3))
    again = contents(write_sample(tmp_path / "b", per_class=2, size=24, seed=3))
    other = contents(write_sample(tmp_path / "c", per_class=2, size=24, seed=4))
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_no_two_pictures_are_equal(tmp_path):
    pictures = contents(write_sample(tmp_path / "a", per_class=4, size=24))
    assert len(set(pictures.values())) == len(pictures) == 4 * len(SAMPLE_CLASSES) + 1


def test_a_picture_does_not_depend_on_how_many_are_drawn(tmp_path):
    few = contents(write_sample(tmp_path / "few", per_class=1, size=24))
    many = contents(write_sample(tmp_path / "many", per_class=3, size=24))
    del few[".sample.json"]
    assert few.items() <= many.items()


@pytest.mark.parametrize("label", SAMPLE_CLASSES)
def test_light_colour_and_structure_vary_within_a_class(label):
    pictures = np.stack([draw(label, i, size=32) for i in range(8)]).astype(float)
    assert pictures.mean((1, 2, 3)).std() > 8, "brightness"
    assert pictures.std((1, 2)).mean() > 4, "each picture has structure"
    assert pictures.mean((1, 2)).std(0).max() > 10, "mean colour"


def texture_and_colour(size=64, per_class=12):
    """Rotation-blind texture (spectrum, anisotropy, grey quantiles) and mean colour of each."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2))
    ring = np.digitize(frequency, [2, 4, 6, 9, 13, 18, 24, 32]).ravel()
    texture, colour, labels = [], [], []
    for label in SAMPLE_CLASSES:
        for i in range(per_class):
            pixels = draw(label, i, size=size).astype(float)
            grey = pixels.mean(2)
            grey = (grey - grey.mean()) / grey.std()
            power = np.log1p(np.bincount(ring, (np.abs(np.fft.fft2(grey)) ** 2).ravel()))
            down, right = np.gradient(grey)
            tensor = [[np.mean(a * b) for b in (down, right)] for a in (down, right)]
            weak, strong = np.linalg.eigvalsh(tensor)
            quantiles = np.quantile(grey, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
            texture.append([*power, 3 * (strong - weak) / (strong + weak), *quantiles])
            colour.append(pixels.mean((0, 1)))
            labels.append(label)
    return np.array(texture), np.array(colour), np.array(labels)


def nearest_neighbour_accuracy(features, labels):
    scaled = (features - features.mean(0)) / features.std(0)
    distance = ((scaled[:, None] - scaled[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return np.mean(labels[distance.argmin(1)] == labels)


def test_texture_tells_the_classes_apart_and_mean_colour_does_not():
    texture, colour, labels = texture_and_colour()
    assert nearest_neighbour_accuracy(texture, labels) > 0.85
    assert nearest_neighbour_accuracy(colour, labels) < 0.40


def test_progress_counts_every_picture(tmp_path):
    steps = []
    write_sample(tmp_path / "rocks", per_class=2, size=16, progress=steps.append)
    assert steps == [1] * 2 * len(SAMPLE_CLASSES)


def test_a_finished_sample_is_reused(tmp_path):
    folder = write_sample(tmp_path / "rocks", per_class=1, size=16)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    steps = []
    assert write_sample(folder, per_class=1, size=16, progress=steps.append) == folder
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("change", [{"per_class": 2}, {"size": 17}, {"seed": 1}])
def test_a_sample_of_other_parameters_is_refused(tmp_path, change):
    folder = write_sample(tmp_path / "rocks", per_class=1, size=16)
    before = contents(folder)
    with pytest.raises(DatasetError, match="another folder"):
        write_sample(folder, **{"per_class": 1, "size": 16} | change)
    assert contents(folder) == before


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="no generated sample"):
        write_sample(mine, per_class=1, size=16)
    assert contents(mine) == {"thesis.txt": b"years of work"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "rocks").write_text("a file")
    with pytest.raises(DatasetError, match="no generated sample"):
        write_sample(tmp_path / "rocks", per_class=1, size=16)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_sample(tmp_path / "rocks" / "inside", per_class=1, size=16)


def test_a_sample_that_lost_a_picture_is_not_reused(tmp_path):
    folder = write_sample(tmp_path / "rocks", per_class=1, size=16)
    shutil.rmtree(folder / SAMPLE_CLASSES[0])
    with pytest.raises(DatasetError, match="1 of its images missing"):
        write_sample(folder, per_class=1, size=16)


@pytest.mark.parametrize("bad", [{"per_class": 0}, {"size": 8}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(tmp_path, bad):
    with pytest.raises(DatasetError, match="at least 1 image per class"):
        write_sample(tmp_path / "rocks", **bad)
    assert list(tmp_path.iterdir()) == []


def test_an_error_half_way_leaves_nothing(tmp_path):
    def give_up(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "rocks", per_class=1, size=16, progress=give_up)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_run_leaves_no_sample_and_the_next_one_succeeds(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from geosim.trainer.sample.generate import write_sample
done = 0
def progress(n):
    global done
    done += n
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
write_sample(Path({str(tmp_path / "rocks")!r}), per_class=1, size=16, progress=progress)
"""
    run = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "rocks").exists()
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    folder = write_sample(tmp_path / "rocks", per_class=1, size=16)
    assert len(list(folder.glob("*/*.jpg"))) == len(SAMPLE_CLASSES)
