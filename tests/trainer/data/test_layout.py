"""Which level of folders names the classes, and how a data set is known again."""

from pathlib import Path

import pytest

from geosim.trainer.data.dataset import open_dataset
from geosim.trainer.data.layout import decide_by, is_partition
from geosim.trainer.data.places import Place


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"picture")
    return root


def folder(names: str, count: int = 3) -> list[str]:
    return [f"{name}/{number}.jpg" for name in names.split() for number in range(count)]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (folder("granite gneiss"), "gneiss granite"),
        (folder("granite"), "granite"),
        (folder("granite/day1 granite/day2 gneiss/day1"), "gneiss granite"),
        (folder("2023/granite 2023/gneiss"), "gneiss granite"),
        (folder("2023/granite 2023/gneiss 2024/granite"), "gneiss granite"),
        (folder("2023-05-01/granite 2023-05-02/gneiss 17.6.2024/basalt"), "basalt gneiss granite"),
        (folder("train/granite train/gneiss test/granite"), "gneiss granite"),
        (folder("Training/granite Validation/gneiss test_set/marble"), "gneiss granite marble"),
        (folder("rocks/images/train/granite rocks/images/val/gneiss"), "gneiss granite"),
        (folder("train/images/granite test/images/gneiss"), "gneiss granite"),
        (folder("train/granite train/gneiss") + folder("test"), "gneiss granite"),
        (folder("north/granite south/granite"), "north south"),
        ([*folder("set/granite set/gneiss"), "hits.png"], "gneiss granite"),
        ([*folder("set/granite set/gneiss"), "set/hits.png"], "gneiss granite"),
        ([*folder("2023/granite"), "2023/hits.png", "hits.png"], "granite"),
        (folder("granite", 9) + folder("granite/thin granite/hand", 2), "granite"),
        (folder("granite/2023 granite/2024"), "granite"),
        (folder("2023 2024"), "2023 2024"),
        (folder("2023/2024-01-01"), "2024-01-01"),
        (folder("train test granite"), "granite test train"),
        (folder("granite/2023 gneiss"), "gneiss granite"),
    ],
)
def test_the_classes_of_a_new_data_set(tmp_path: Path, names: list[str], classes: str) -> None:
    dataset = open_dataset(write(tmp_path / "trip", *names))
    assert dataset.name == "trip"
    assert dataset.classes == tuple(classes.split())
    assert {f"trip/{name}" for name in names} == {
        one.path for one in (*dataset.records, *dataset.rejected)
    }


@pytest.mark.parametrize(
    "name", ["train", "TEST", "val", "Validation", "dev", "testing", "train_set", "test-data",
             "2023", "1998", "2023-05", "2023_05_17", "20230517", "17.05.2023", "fold 3"]
)  # fmt: skip
def test_names_of_parts_and_dates(name: str) -> None:
    assert is_partition(name)


@pytest.mark.parametrize(
    "name", ["granite", "trainite", "12", "3050", "testudo", "valley", "2023a"]
)
def test_names_of_classes(name: str) -> None:
    assert not is_partition(name)


def test_a_known_data_set_keeps_its_level(tmp_path: Path) -> None:
    root = write(tmp_path / "trip", *folder("north/granite north/gneiss"))
    first = open_dataset(root)
    decide = decide_by({"trip": first.place})
    write(root, *folder("south/granite south/gneiss"), "stray.jpg")
    again = open_dataset(root, decide=decide)
    assert again.classes == first.classes == ("gneiss", "granite")
    assert {one.path for one in first.records} < {one.path for one in again.records}
    assert [one.path for one in again.records if not one.label] == ["trip/stray.jpg"]
    moved = root.rename(tmp_path / "away")
    (tmp_path / "new").mkdir()
    moved.rename(tmp_path / "new" / "trip")
    assert open_dataset(tmp_path / "new" / "trip", decide=decide).classes == first.classes


def test_a_data_set_below_a_folder_is_known_while_it_has_all_pictures(tmp_path: Path) -> None:
    root = write(tmp_path / "trip", *folder("2023/granite 2023/gneiss"), "stray.jpg")
    decide = decide_by({"2023": Place(str(root / "2023"))})  # as in earlier versions
    dataset = open_dataset(root, decide=decide)
    assert dataset.name == "2023"
    assert dataset.records[0].path == "2023/gneiss/0.jpg"
    assert dataset.rejected[0].reason == "outside of 2023, the folder of data set 2023"
    assert dataset.place == Place(str(root / "2023"))
    write(root, *folder("2024/granite"))
    assert open_dataset(root, decide=decide).name == "trip"


def test_a_data_set_below_a_folder_is_not_that_of_pictures_beside_it(tmp_path: Path) -> None:
    root = write(tmp_path / "trip", "a.jpg", "b.jpg")
    decide = decide_by({"2023": Place(str(root / "2023"))})  # gone
    dataset = open_dataset(root, decide=decide)
    assert (dataset.name, dataset.unlabelled) == ("trip", 2)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("a.jpg granite/b.jpg gneiss/c.jpg", "granite gneiss"),
        ("a.jpg granite/thin/b.jpg granite/c.jpg", "granite"),
        ("a.jpg north/granite/b.jpg north/gneiss/c.jpg", "granite gneiss"),
        ("a.jpg train/granite/b.jpg test/granite/c.jpg", "granite"),
    ],
)
def test_pictures_directly_in_the_root_have_no_class(
    tmp_path: Path, names: str, labels: str
) -> None:
    dataset = open_dataset(write(tmp_path / "trip", *names.split(), "z.png"))
    found = {one.path: one.label for one in dataset.records}
    assert found.pop("trip/a.jpg") == found.pop("trip/z.png") == ""
    assert set(found.values()) == set(labels.split())
    assert dataset.classes == tuple(sorted(labels.split()))
    assert (dataset.unlabelled, dataset.rejected) == (2, ())


def test_pictures_between_the_root_and_the_classes_have_no_class(tmp_path: Path) -> None:
    names = ["a.jpg", "north/b.jpg", "north/granite/c.jpg", "north/gneiss/c.jpg"]
    names += ["south/granite/d.jpg"]
    root = write(tmp_path / "trip", *names)
    dataset = open_dataset(root, decide=decide_by({"trip": Place(str(root), None, 1)}))
    assert dataset.rejected == ()
    assert {one.path: one.label for one in dataset.records} == {
        "trip/a.jpg": "",
        "trip/north/b.jpg": "",
        "trip/north/gneiss/c.jpg": "gneiss",
        "trip/north/granite/c.jpg": "granite",
        "trip/south/granite/d.jpg": "granite",
    }


@pytest.mark.parametrize("rule", ["none", "lithology"])
def test_a_data_set_keeps_its_rule_for_classes(tmp_path: Path, rule: str) -> None:
    root = write(tmp_path / "trip", *folder("north/granite south/gneiss"))
    known = Place(str(root), None, 0, rule)
    assert Place.from_dict(known.to_dict()) == known
    dataset = open_dataset(root, decide=decide_by({"trip": known}))
    assert (dataset.classes, dataset.unlabelled, dataset.place) == ((), 6, known)
    moved = root.rename(tmp_path / "away")
    (tmp_path / "new").mkdir()
    moved.rename(tmp_path / "new" / "trip")
    again = open_dataset(tmp_path / "new" / "trip", decide=decide_by({"trip": known}))
    assert again.place.class_from == rule
