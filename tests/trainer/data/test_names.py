"""Names of files: Unicode forms, bytes that are no UTF-8, and encodings of archives."""

from __future__ import annotations

import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.errors import DatasetError

NFC, NFD = (unicodedata.normalize(form, "Grünstein") for form in ("NFC", "NFD"))


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (shade, 100, 50)).save(path, "PNG")


def paths(dataset: Dataset) -> list[str]:
    return [record.path for record in dataset.records]


def test_a_folder_of_macos_is_the_same_data_set_as_one_of_linux(tmp_path: Path) -> None:
    for system, name in (("linux", NFC), ("macos", NFD)):
        picture(tmp_path / system / "rocks" / name / f"{name}.png")
        picture(tmp_path / system / "rocks" / "granite" / "a.png")
    linux, macos = (open_dataset(tmp_path / s / "rocks") for s in ("linux", "macos"))
    assert paths(linux) == paths(macos) == [f"rocks/{NFC}/{NFC}.png", "rocks/granite/a.png"]
    assert linux.classes == macos.classes == (NFC, "granite")
    assert all(macos.source.read(record) for record in macos.records)


def test_the_folder_of_a_data_set_may_be_typed_in_the_other_form(tmp_path: Path) -> None:
    picture(tmp_path / NFD / "granite" / "a.png")
    assert paths(open_dataset(tmp_path / NFC)) == [f"{NFC}/granite/a.png"]


def test_class_folders_that_differ_only_in_form_are_one_class_and_it_is_told(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "rocks" / NFC / "a.png")
    picture(tmp_path / "rocks" / NFD / "b.png")
    picture(tmp_path / "rocks" / "granite" / "a.png")
    dataset = open_dataset(tmp_path / "rocks")
    assert dataset.classes == (NFC, "granite")
    assert len(dataset.records) == 3
    assert [note for note in dataset.notes if "joins 2 folders" in note and NFC in note]


def test_of_two_files_with_one_stored_path_one_is_kept_and_one_rejected(tmp_path: Path) -> None:
    for shade, name in enumerate((NFD, NFC)):
        picture(tmp_path / "rocks" / "granite" / f"{name}.png", shade)
        picture(tmp_path / "rocks" / name / "a.png", shade)
    dataset = open_dataset(tmp_path / "rocks")
    assert paths(dataset) == [f"rocks/{NFC}/a.png", f"rocks/granite/{NFC}.png"]
    assert [one.path for one in dataset.rejected] == paths(dataset)
    assert all("Unicode" in one.reason for one in dataset.rejected)
    assert all(NFC in record.source for record in dataset.records)


def test_names_that_are_no_utf8_are_stored_in_a_reversible_spelling(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/G\xe9o/roches"
    for name in (b"gr\xe8s/\xe9t\xe9.png", b"granite/a.png"):
        picture(Path(os.fsdecode(folder + b"/" + name)))
    dataset = open_dataset(Path(os.fsdecode(folder)))
    assert paths(dataset) == ["roches/gr%E8s/%E9t%E9.png", "roches/granite/a.png"]
    assert dataset.classes == ("gr%E8s", "granite")
    assert not dataset.rejected
    assert all(dataset.source.read(record) for record in dataset.records)


def test_a_spelling_that_is_another_files_name_is_rejected(tmp_path: Path) -> None:
    for shade, name in enumerate((b"\xe9.png", b"%E9.png")):
        picture(tmp_path / "rocks" / "granite" / os.fsdecode(name), shade)
    dataset = open_dataset(tmp_path / "rocks")
    assert [Path(one.source).name for one in dataset.records] == ["%E9.png"]
    assert [one.path for one in dataset.rejected] == ["rocks/granite/%E9.png"]


def pack(path: Path, names: Mapping[bytes, bytes]) -> Path:
    """Write an archive whose names are the given bytes, without the flag for UTF-8."""
    marks = {bytes([65 + number]) * len(raw): raw for number, raw in enumerate(names)}
    with zipfile.ZipFile(path, "w") as archive:
        for mark, raw in marks.items():
            info = zipfile.ZipInfo(mark.decode())
            info.extra = names[raw]
            archive.writestr(info, b"x")
    content = path.read_bytes()
    for mark, raw in marks.items():
        content = content.replace(mark, raw)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", [f"rocks/{NFD}/a.png", "rocks/花岗岩/b.png"]),
        ("cp437", ["rocks/Grünstein/a.png", "rocks/Gneis/b.png"]),
        ("cp850", ["roches/grès à mica/été.png", "roches/gneiss/b.png"]),
        ("cp850", ["bergarter/Blåskifer/prøve.png", "bergarter/gneis/b.png"]),
        ("cp1252", ["roches/Dépôt/a.png", "roches/gneiss/b.png"]),
        ("gbk", ["岩石/花岗岩/a.png", "岩石/片麻岩/b.png"]),
        ("cp932", ["岩石/花崗岩/サンプル1.png", "岩石/片麻岩/b.png"]),
        ("cp949", ["암석/화강암/a.png", "암석/편마암/현무암 표본.png"]),
        ("big5", ["岩石/花崗岩/a.png", "岩石/片麻岩/b.png"]),
        ("cp866", ["Породы/Гранит/a.png", "Породы/Гнейс/b.png"]),
        ("cp1251", ["Породы/Гранит/a.png", "Породы/Гнейс/b.png"]),
    ],
)
def test_names_in_an_archive_are_decoded(tmp_path: Path, encoding: str, names: list[str]) -> None:
    archive = pack(tmp_path / "set.zip", {name.encode(encoding): b"" for name in names})
    dataset = open_dataset(archive)
    assert sorted(paths(dataset)) == sorted(unicodedata.normalize("NFC", name) for name in names)
    assert dataset.notes == ()
    assert [dataset.source.read(record) for record in dataset.records] == [b"x", b"x"]


def test_the_unicode_name_in_an_extra_field_counts_if_it_belongs_to_the_name(
    tmp_path: Path,
) -> None:
    def field(raw: bytes, name: str, checksum: int | None = None) -> bytes:
        data = struct.pack("<BL", 1, zlib.crc32(raw) if checksum is None else checksum)
        data += name.encode()
        return struct.pack("<HH", 0x7075, len(data)) + data

    good, stale = b"rocks/\xff\xfe/a.png", b"rocks/granite/b.png"
    fields = {good: field(good, "rocks/花岗岩/a.png"), stale: field(stale, "rocks/other/b.png", 7)}
    archive = pack(tmp_path / "set.zip", fields)
    assert paths(open_dataset(archive)) == ["rocks/granite/b.png", "rocks/花岗岩/a.png"]


def test_an_encoding_that_cannot_be_told_is_told_once(tmp_path: Path) -> None:
    names = ("rocks/Quarzgänge/a.png", "rocks/Gänge/b.png")
    archive = pack(tmp_path / "set.zip", {name.encode("cp1252"): b"" for name in names})
    first, again = open_dataset(archive), open_dataset(archive)
    assert len(first.notes) == 1
    assert "pack it again with names in UTF-8" in first.notes[0]
    assert paths(first) == paths(again)
    assert len(first.records) == 2


def test_a_name_that_is_not_the_utf8_it_claims_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("rocks/é/a.png", b"x")
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    with pytest.raises(DatasetError, match="pack it again"):
        open_dataset(archive)


def test_entries_that_differ_only_in_form_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(f"rocks/{NFD}/a.png", b"d")
        archive.writestr(f"rocks/{NFC}/a.png", b"c")
        archive.writestr("rocks/granite/a.png", b"g")
    dataset = open_dataset(tmp_path / "set.zip")
    assert paths(dataset) == [f"rocks/{NFC}/a.png", "rocks/granite/a.png"]
    assert dataset.source.read(dataset.records[0]) == b"c"
    assert [one.path for one in dataset.rejected] == [f"rocks/{NFC}/a.png"]
