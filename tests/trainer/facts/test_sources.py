"""Facts from file names and EXIF, and which source comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.facts import Facts
from geosim.trainer.data.layout import decide_anew
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.errors import DatasetError
from geosim.trainer.facts.collect import FactOptions, open_described
from geosim.trainer.facts.pattern import name_facts


def named(pattern: str, *paths: str, **types: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    layer, _ = name_facts(pattern, paths, types)
    return [Facts((layer,)).of(path) for path in paths], dict(layer.types)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        (
            "{hole}_{box}_{from}_{to}",
            "core/A-7_12_2900.5_2903.25.jpg",
            {"hole": "A-7", "box": 12, "from": 2900.5, "to": 2903.25},
        ),
        ("{hole}_{box}_{from}_{to}", "core/A-7_x_12_2900.5_2903.jpg", None),
        ("{hole} {from}-{to} m", "core/A-7 10-20 M.tif", {"hole": "A-7", "from": 10, "to": 20}),
        ("{hole}_{n}.jpg", "core/A_1.jpg", {"hole": "A", "n": 1}),
        ("{hole}_{n}.jpg", "core/A_1.png", None),
        ("{hole}/{n}", "core/A-7/3.jpg", {"hole": "A-7", "n": 3}),
        ("*_{n}", "core/any_thing_3.jpg", {"n": 3}),
        ("IMG_{day}_*", "core/IMG_2024-05-31_7.jpg", {"day": "2024-05-31"}),
        ("{Bohrung ü}_{n}", "core/B ü_3.jpg", {"Bohrung ü": "B ü", "n": 3}),
        ("[{n}]", "core/[3].jpg", {"n": 3}),
    ],
)
def test_facts_in_names(pattern: str, path: str, expected: dict[str, Any] | None) -> None:
    if expected is None:
        with pytest.raises(DatasetError, match="fits none of the pictures, such as core/"):
            named(pattern, path)
    else:
        assert named(pattern, path)[0] == [expected]


def test_names_that_do_not_fit_are_counted_and_listed() -> None:
    paths = ["core/A_1.jpg", "core/B_2.jpg", "core/other.jpg"]
    layer, told = name_facts("{hole}_{n}", paths, {"n": "text"})
    assert Facts((layer,)).of("core/other.jpg") == {}
    assert told == [
        "--name-pattern fits 2 of 3 names; facts: hole text, n text",
        "1 name that --name-pattern does not fit: core/other.jpg",
    ]


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("hole", "has no field"),
        ("{}_{n}", "has a field without a name"),
        ("{hole_{n}", "has a brace that is not of a field"),
        ("{n}_{n}", "has two fields n"),
        ("{hole}{n}", "has two fields with nothing between them"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, fault: str) -> None:
    with pytest.raises(DatasetError, match=fault):
        name_facts(pattern, ["core/A_1.jpg"], {})


def photograph(path: Path, *, offset: str | None = "+02:00", fix: bool = True) -> None:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "NIKON", "NIKON D90\0"
    inner, gps = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
    inner[Base.DateTimeOriginal] = "2024:05:31 10:15:00"
    if offset:
        inner[Base.OffsetTimeOriginal] = offset
    if fix:
        gps[GPS.GPSLatitudeRef], gps[GPS.GPSLatitude] = "S", (33.0, 30.0, 36.0)
        gps[GPS.GPSLongitudeRef], gps[GPS.GPSLongitude] = "E", (18.0, 15.0, 0.0)
    if path.suffix == ".tif":  # Pillow writes no others
        exif[IFD.Exif], exif[IFD.GPSInfo] = dict(inner), dict(gps)
    path.parent.mkdir(exist_ok=True)
    Image.effect_noise((32, 32), 60).save(path, exif=exif)


def opened(folder: Path, **options: Any) -> Dataset:
    return open_described(folder, (), decide_anew, FactOptions(**options))


def test_exif_gives_time_camera_and_location(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    for name in ("a.jpg", "b.tif", "c.png", "d.webp"):
        photograph(folder / name)
    photograph(folder / "e.jpg", offset=None, fix=False)
    Image.effect_noise((32, 32), 60).save(folder / "f.jpg")
    (folder / "g.jpg").write_bytes((folder / "a.jpg").read_bytes()[:40])
    dataset = opened(folder, exif=True)
    assert dataset.facts is not None
    for name in ("a.jpg", "b.tif", "c.png", "d.webp"):
        assert dataset.facts.of(f"trip/{name}") == {
            "time": "2024-05-31T10:15:00+02:00",
            "camera": "NIKON D90",
            "location": {"lat": -33.51, "lon": 18.25},
        }, name
    local = {"time": "2024-05-31T10:15:00", "camera": "NIKON D90"}
    assert dataset.facts.of("trip/e.jpg") == local
    assert dataset.facts.of("trip/f.jpg") == dataset.facts.of("trip/g.jpg") == {}
    assert dataset.notes == ("EXIF of 7 pictures: time of 5, camera of 5, location of 4",)
    assert opened(folder).facts is None


def test_exif_of_unchanged_pictures_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, kept = tmp_path / "trip", tmp_path / "hashes"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photograph(folder / name)
    Image.effect_noise((32, 32), 60).save(folder / "none.jpg")
    (folder / "broken.jpg").write_bytes(b"broken")
    monkeypatch.setattr("geosim.trainer.data.hashes.SETTLED_NS", -(10**12))
    read: list[str] = []
    original = Files.read

    def noted(self: Files, record: Record) -> bytes:
        read.append(record.path.rpartition("/")[2])
        return original(self, record)

    monkeypatch.setattr(Files, "read", noted)

    def facts(**options: bool) -> dict[str, Any]:
        read.clear()
        found = open_described(
            folder, (), decide_anew, FactOptions(exif=True), hashes=kept, **options
        )
        assert found.facts is not None
        return {one.path: found.facts.of(one.path) for one in found.records}

    first = facts()
    assert len(read) == 5
    assert first["trip/a.jpg"]["camera"] == "NIKON D90"
    assert facts() == first
    assert read == []
    photograph(folder / "b.jpg", fix=False)
    (folder / "c.jpg").unlink()
    photograph(folder / "d.jpg")
    changed = facts()
    assert sorted(read) == ["b.jpg", "d.jpg"]
    assert "location" not in changed["trip/b.jpg"]
    assert changed["trip/d.jpg"] == first["trip/a.jpg"]
    assert facts(rehash=True) == changed
    assert len(read) == 5
    (file,) = kept.glob("*.exif.json")
    for damaged in (file.read_bytes()[:-30], b"[]", b'{"version": 0, "pictures": {}}'):
        file.write_bytes(damaged)
        assert facts() == changed
        assert len(read) == 5
    assert list(kept.glob("*.exif.json*")) == [file]


def test_a_table_comes_before_names_and_names_before_exif(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    photograph(folder / "A-7_phone.jpg")
    photograph(folder / "B-1_phone.jpg")
    table = tmp_path / "samples.csv"
    table.write_text("file,hole,time\nA-7_phone.jpg,A-8,noon\n")
    dataset = opened(folder, table=table, pattern="{hole}_{camera}", exif=True)
    assert dataset.facts is not None
    assert dataset.facts.types == {
        "hole": "text",
        "time": "text",
        "camera": "text",
        "location": "geo",
    }
    place = {"location": {"lat": -33.51, "lon": 18.25}}
    first = {"hole": "A-8", "time": "noon", "camera": "phone"}
    assert dataset.facts.of("trip/A-7_phone.jpg") == first | place
    assert dataset.facts.of("trip/B-1_phone.jpg") == {"hole": "B-1", "camera": "phone"} | place
    told = "fact time: text values are kept, date ones of the next source left out"
    assert any(note.startswith(told) for note in dataset.notes)


def test_classes_come_from_names(tmp_path: Path) -> None:
    folder = tmp_path / "trip"
    for name in ("granite_1.jpg", "gneiss_2.jpg"):
        photograph(folder / name)
    dataset = opened(folder, pattern="{rock}_{n}", class_from="rock")
    assert dataset.classes == ("gneiss", "granite")
    with pytest.raises(DatasetError, match="come from 'location', which is no fact here"):
        opened(folder, exif=True, class_from="location")
