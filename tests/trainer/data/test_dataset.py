"""Class folders and archives of them: what counts, how it is called, what is refused."""

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from geosim.trainer.data.dataset import hash_records, open_dataset
from geosim.trainer.data.sources import Files, Record
from geosim.trainer.errors import DatasetError, ImageError

ONE, TWO = b"picture one", b"picture two"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="such names exist on Linux only")


def write(root: Path, *names: str, content: bytes = ONE) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path: Path, names: Iterable[str], content: bytes = ONE) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def paths(location: Path) -> list[str]:
    return [record.path for record in open_dataset(location).records]


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    root = write(
        tmp_path / "rocks", "marble/b.jpg", "marble/a.jpg", "gneiss/a.PNG", "gneiss/s/c.gif"
    )
    dataset = open_dataset(root)
    assert dataset.name == "rocks"
    assert dataset.location == root
    assert [(record.path, record.label) for record in dataset.records] == [
        ("rocks/gneiss/a.PNG", "gneiss"),
        ("rocks/gneiss/s/c.gif", "gneiss"),
        ("rocks/marble/a.jpg", "marble"),
        ("rocks/marble/b.jpg", "marble"),
    ]
    assert dataset.classes == ("gneiss", "marble")
    assert dataset.rejected == ()
    assert dataset.source.read(dataset.records[0]) == ONE


def test_every_ending_counts_in_any_case(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPEG", "c.png", "d.WebP", "e.bmp", "f.tif", "g.TIFF", "h.gif"]
    names += ["i.HEIC", "j.jfif", "k.JPE", "l.apng", "m.j2k", "n.avif", "o.dib"]
    others = ["notes.txt", "Thumbs.db", "jpg", "a.jpg.bak", "model.h5"]
    root = write(tmp_path / "rocks", *(f"marble/{name}" for name in [*names, *others]))
    assert paths(root) == [f"rocks/marble/{name}" for name in sorted(names)]


def test_a_relative_path_finds_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rocks", "marble/a.jpg")
    monkeypatch.chdir(tmp_path / "rocks")
    assert paths(Path()) == ["rocks/marble/a.jpg"]
    assert paths(Path("../rocks/")) == ["rocks/marble/a.jpg"]


def test_an_archive_gives_the_stored_paths_of_its_unpacked_folder(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "rocks",
        "marble/a.jpg",
        "marble/Größe 1 (2).jpg",
        "marble/deep/er/b.png",
        "gneiss/#1 %20.jpg",
        "gneiss/.hidden.jpg",
        "loose.jpg",
        content=TWO,
    )
    archive = Path(shutil.make_archive(str(tmp_path / "rocks"), "zip", tmp_path, "rocks"))
    unpacked = tmp_path / "unpacked" / "rocks"
    shutil.unpack_archive(archive, unpacked)
    expected = open_dataset(folder)
    assert [one.label for one in expected.records].count("") == 1
    assert len(expected.records) == 5
    for location in (archive, unpacked, unpacked / "rocks"):
        dataset = open_dataset(location)
        assert dataset.name == "rocks"
        assert [(r.path, r.label) for r in dataset.records] == [
            (r.path, r.label) for r in expected.records
        ]
        assert dataset.rejected == expected.rejected
        assert {dataset.source.read(record) for record in dataset.records} == {TWO}


def test_an_archive_without_a_root_folder_is_called_like_the_file(tmp_path: Path) -> None:
    archive = pack(tmp_path / "rocks.zip", ["marble/a.jpg", "gneiss/b.jpg"])
    assert paths(archive) == ["rocks/gneiss/b.jpg", "rocks/marble/a.jpg"]


@pytest.mark.parametrize("classes", [["marble"], ["marble", "gneiss"]])
def test_folders_above_the_classes_stay_in_the_stored_paths(
    tmp_path: Path, classes: list[str]
) -> None:
    names = [f"export/2024/rocks/{name}/a.jpg" for name in classes]
    for location, start in ((pack(tmp_path / "x.zip", names), ""), (tmp_path / "x", "x/")):
        write(tmp_path / "x", *names)
        dataset = open_dataset(location)
        expected = sorted(f"{start}{one}" for one in names)
        assert [record.path for record in dataset.records] == expected
        assert dataset.classes == tuple(sorted(classes))


def test_a_year_at_the_top_of_an_archive_does_not_name_the_data_set(tmp_path: Path) -> None:
    names = ["2023/granite/a.jpg", "2023/gneiss/a.jpg"]
    assert paths(pack(tmp_path / "trip.zip", names)) == sorted(f"trip/{one}" for one in names)


def test_a_nested_root_is_found_beside_what_does_not_count(tmp_path: Path) -> None:
    names = ["rocks/marble/a.jpg", "rocks/gneiss/b.jpg"]
    others = ["__MACOSX/rocks/marble/a.jpg", "README.txt", ".git/x/y.jpg", "rocks/.DS_Store"]
    expected = ["rocks/gneiss/b.jpg", "rocks/marble/a.jpg"]
    assert paths(pack(tmp_path / "rocks.zip", [*others, *names])) == expected
    assert paths(write(tmp_path / "rocks", *others, *names)) == expected


def test_hidden_files_and_macos_leftovers_are_passed_over(tmp_path: Path) -> None:
    names = ["rocks/marble/a.jpg", "rocks/gneiss/a.jpg"]
    others = ["rocks/marble/._a.jpg", "rocks/.cache/a.jpg", "rocks/gneiss/__MACOSX/a.jpg"]
    for location in (
        pack(tmp_path / "rocks.zip", names + others),
        write(tmp_path / "rocks", *names, *others),
    ):
        dataset = open_dataset(location)
        assert [record.path for record in dataset.records] == sorted(names)
        assert dataset.rejected == ()


SYSTEM = ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"]


@pytest.mark.parametrize("packed", [True, False])
def test_system_folders_are_passed_over(tmp_path: Path, packed: bool) -> None:
    names = ["rocks/marble/a.jpg", "rocks/gneiss/a.jpg"]
    others = [f"rocks/{one}/a.jpg" for one in [*SYSTEM, ".thumbnails", "__MACOSX"]]
    others += [f"{one}/rocks/marble/a.cr2" for one in SYSTEM]
    every = [*names, *others]
    location = pack(tmp_path / "rocks.zip", every) if packed else write(tmp_path / "rocks", *every)
    dataset = open_dataset(location)
    assert [record.path for record in dataset.records] == sorted(names)
    assert dataset.rejected == dataset.passed_over == ()


def test_a_system_folder_is_never_listed_and_another_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "rocks", "marble/a.jpg", "gneiss/a.jpg", "lost+found/a.jpg", "x/a.jpg")
    listed = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name in ("lost+found", "x"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        with pytest.raises(DatasetError, match=r"cannot list .*/x: Permission denied; .*--exclude"):
            open_dataset(root)
        assert len(open_dataset(root, ["x"]).records) == 2


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["old"], ["gneiss/a.jpg", "marble/a.jpg", "marble/b_old.jpg"]),
        (["*_old*"], ["gneiss/a.jpg", "gneiss/old/a.jpg", "marble/a.jpg"]),
        (["gneiss/old/", "marble/b*"], ["gneiss/a.jpg", "marble/a.jpg"]),
        (["*.jpeg", "marble"], ["gneiss/a.jpg", "gneiss/old/a.jpg"]),
    ],
)
def test_patterns_leave_out_names_and_paths(
    tmp_path: Path, patterns: list[str], expected: list[str]
) -> None:
    names = ["gneiss/a.jpg", "gneiss/old/a.jpg", "marble/a.jpg", "marble/b_old.jpg"]
    for location in (write(tmp_path / "rocks", *names), pack(tmp_path / "rocks.zip", names)):
        found = [record.path for record in open_dataset(location, patterns).records]
        assert found == [f"rocks/{name}" for name in expected]


@pytest.mark.parametrize("classes", [["marble/a.jpg", "gneiss/a.jpg"], []])
@pytest.mark.parametrize("many", [2, 9])
def test_pictures_outside_of_the_class_folders_have_no_class(
    tmp_path: Path, classes: list[str], many: int
) -> None:
    loose = [f"{number}.jpg" for number in range(many)]
    root = write(tmp_path / "rocks", *classes, *loose)
    flat = pack(tmp_path / "flat" / "rocks.zip", [*classes, *loose])
    folded = pack(tmp_path / "rocks.zip", [f"rocks/{name}" for name in (*classes, *loose)])
    unpacked = write(tmp_path / "unpacked" / "rocks" / "rocks", *classes, *loose).parent
    for location in (root, flat, folded, unpacked):
        dataset = open_dataset(location)
        assert {one.path: one.label for one in dataset.records} == {
            **{f"rocks/{name}": name.partition("/")[0] for name in classes},
            **{f"rocks/{name}": "" for name in loose},
        }
        assert dataset.classes == (("gneiss", "marble") if classes else ())
        assert (dataset.unlabelled, dataset.rejected) == (many, ())
        assert {dataset.source.read(record) for record in dataset.records} == {ONE}


def test_a_class_folder_that_is_packed_alone_stays_a_class(tmp_path: Path) -> None:
    dataset = open_dataset(pack(tmp_path / "new.zip", ["granite/a.jpg", "granite/b.jpg"]))
    assert [one.label for one in dataset.records] == ["granite", "granite"]


@pytest.mark.parametrize("packed", [True, False])
def test_files_that_are_passed_over_are_counted_per_class_and_ending(
    tmp_path: Path, packed: bool
) -> None:
    names = ["rocks/granite/a.jpg", "rocks/gneiss/a.jpg", "rocks/basalt/a.CR2", "rocks/list.csv"]
    names += ["rocks/basalt/deep/b.cr2", "rocks/granite/c.psd", "rocks/granite/.d.nef", "e.svg"]
    names += ["rocks/granite/notes"]
    location = pack(tmp_path / "rocks.zip", names) if packed else write(tmp_path / "rocks", *names)
    dataset = open_dataset(location)
    found = [(one.label, one.ending, one.count, one.picture) for one in dataset.passed_over]
    assert found == [
        ("basalt", ".cr2", 2, True),
        ("granite", "", 1, False),
        ("granite", ".psd", 1, True),
        ("rocks", ".csv", 1, False),
        ("rocks", ".svg", 1, True),
    ]
    expected = "2 .cr2 in basalt passed over: not read; convert them to TIFF or JPEG"
    assert str(dataset.passed_over[0]) == expected


def test_a_data_set_of_raw_photographs_is_refused_with_the_reason(tmp_path: Path) -> None:
    root = write(tmp_path / "rocks", "marble/a.nef", "marble/b.nef")
    with pytest.raises(DatasetError, match=r"\(2 \.nef in marble passed over: .*convert"):
        open_dataset(root)


def test_one_class_stays_one_class(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path / "rocks", "marble/a.jpg", "marble/b.jpg"))
    assert dataset.classes == ("marble",)
    assert dataset.records[0].path == "rocks/marble/a.jpg"


@pytest.mark.parametrize("names", [[], ["notes.txt"], ["marble/notes.txt"], [".hidden/a.jpg"]])
def test_a_data_set_without_images_is_refused(tmp_path: Path, names: list[str]) -> None:
    root = tmp_path / "rocks"
    root.mkdir()
    archive = pack(tmp_path / "rocks.zip", names)
    for location in (write(root, *names), archive):
        with pytest.raises(
            DatasetError, match=r"holds no images; .*rocks/<class>/<image>, or rock"
        ):
            open_dataset(location)


def test_a_missing_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"does not exist; .*geosim demo"):
        open_dataset(tmp_path / "absent.zip")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rocks.zip"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"no readable \.zip archive"):
        open_dataset(path)


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "rocks.zip", ["marble/a.jpg", "gneiss/b.jpg"])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"no readable \.zip archive.*pack it again"):
        open_dataset(path)


def test_an_archive_with_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    # A name that is flagged as UTF-8 and is not: zipfile raises UnicodeDecodeError.
    path = pack(tmp_path / "rocks.zip", ["marble/é.jpg"])
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(DatasetError, match=r"no readable \.zip archive"):
        open_dataset(path)


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "rocks/../../x.jpg",
        "rocks/marble/../../../x.jpg",
        "/abs/marble/x.jpg",
        "C:\\marble\\x.jpg",
        "C:/marble/x.jpg",
        "..\\x.jpg",
        "rocks\\..\\..\\x.jpg",
        "\\\\server\\share\\x.jpg",
        "rocks/..",
        "../folder/",
        "../notes.txt",
    ],
)
def test_an_archive_that_reaches_outside_is_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "rocks.zip", ["rocks/marble/a.jpg", "rocks/gneiss/b.jpg", name])
    with pytest.raises(DatasetError, match="unsafe path"):
        open_dataset(archive)


def test_dots_in_names_are_no_way_out(tmp_path: Path) -> None:
    names = ["rocks/marble/a..b.jpg", "./rocks/gneiss/...c.jpg", "rocks/gneiss/d...jpg"]
    archive = pack(tmp_path / "rocks.zip", names)
    assert paths(archive) == ["rocks/gneiss/d...jpg", "rocks/marble/a..b.jpg"]


def test_backslashes_of_a_windows_packer_are_folders(tmp_path: Path) -> None:
    archive = pack(tmp_path / "rocks.zip", ["rocks\\marble\\a.jpg", "rocks\\gneiss\\b.jpg"])
    dataset = open_dataset(archive)
    assert [r.path for r in dataset.records] == ["rocks/gneiss/b.jpg", "rocks/marble/a.jpg"]
    assert dataset.source.read(dataset.records[1]) == ONE


def test_damage_in_an_archive_is_an_error_of_that_image(tmp_path: Path) -> None:
    path = tmp_path / "rocks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("marble/a.jpg", b"first content")
        archive.writestr("gneiss/b.jpg", b"second content")
    path.write_bytes(path.read_bytes().replace(b"first content", b"first CONTENT"))
    dataset = open_dataset(path)
    hashed, rejected = hash_records(dataset.source, dataset.records)
    assert [one.record.path for one in hashed] == ["rocks/gneiss/b.jpg"]
    assert [one.path for one in rejected] == ["rocks/marble/a.jpg"]
    assert "CRC" in rejected[0].reason


def test_damaged_compression_is_an_error_of_that_image(tmp_path: Path) -> None:
    path = pack(tmp_path / "rocks.zip", ["marble/a.jpg", "gneiss/b.jpg"], bytes(range(256)) * 9)
    content = bytearray(path.read_bytes())
    start = content.index(b"marble/a.jpg") + len(b"marble/a.jpg")
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    dataset = open_dataset(path)
    hashed, rejected = hash_records(dataset.source, dataset.records)
    assert [one.record.label for one in hashed] == ["gneiss"]
    assert "archive" in rejected[0].reason


def test_an_encrypted_entry_is_an_error_of_that_image(tmp_path: Path) -> None:
    path = pack(tmp_path / "rocks.zip", ["marble/a.jpg"])
    content = bytearray(path.read_bytes())
    content[6] |= 1  # "encrypted" in the flags of the local header ...
    content[content.index(b"PK\x01\x02") + 8] |= 1  # ... and of the directory
    path.write_bytes(content)
    dataset = open_dataset(path)
    with pytest.raises(ImageError, match=r"cannot be read from the archive: .*encrypted"):
        dataset.source.read(dataset.records[0])


def test_an_entry_that_claims_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = pack(tmp_path / "rocks.zip", ["marble/a.jpg"])
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (600 * 2**20).to_bytes(4, "little")
    path.write_bytes(content)
    dataset = open_dataset(path)
    with pytest.raises(ImageError, match=r"^629,145,600 bytes; at most 536,870,912 are read"):
        dataset.source.read(dataset.records[0])


def test_a_record_of_another_archive_is_an_image_error(tmp_path: Path) -> None:
    dataset = open_dataset(pack(tmp_path / "rocks.zip", ["marble/a.jpg"]))
    with pytest.raises(ImageError, match="not in the archive"):
        dataset.source.read(Record("rocks/marble/b.jpg", "marble", "marble/b.jpg"))


@LINUX
def test_odd_names_are_kept(tmp_path: Path) -> None:
    odd = [
        "marble/ñ 岩石 🪨.jpg",
        "marble/line\nbreak.jpg",
        "marble/back\\slash.jpg",
        "marble/ .jpg",
    ]
    root = write(tmp_path / "rocks", "gneiss/a.jpg", *odd)
    Path(os.fsdecode(os.fsencode(root) + b"/marble/\xff\xfe.jpg")).write_bytes(ONE)
    dataset = open_dataset(root)
    names = [*odd, "gneiss/a.jpg", "marble/%FF%FE.jpg"]
    assert [r.path for r in dataset.records] == sorted(f"rocks/{n}" for n in names)
    hashed, unreadable = hash_records(dataset.source, dataset.records)
    assert len(hashed) == 6
    assert not unreadable


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    root = write(tmp_path / "rocks", "marble/a.jpg", "gneiss/b.jpg")
    (root / "marble" / "up").symlink_to(root)
    (root / "aa").symlink_to(root)
    (root / "gneiss" / "self").symlink_to(root / "gneiss")
    assert paths(root) == ["rocks/gneiss/b.jpg", "rocks/marble/a.jpg"]


def test_a_linked_class_folder_counts_once_and_under_its_own_name(tmp_path: Path) -> None:
    root = write(tmp_path / "rocks", "marble/a.jpg", "gneiss/b.jpg")
    write(tmp_path / "store", "c.jpg")
    (root / "alias").symlink_to(root / "marble")
    (root / "schist").symlink_to(tmp_path / "store")
    assert paths(root) == ["rocks/gneiss/b.jpg", "rocks/marble/a.jpg", "rocks/schist/c.jpg"]


def test_a_linked_root_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    write(tmp_path / "store", "marble/a.jpg")
    (tmp_path / "rocks").symlink_to(tmp_path / "store")
    assert paths(tmp_path / "rocks") == ["rocks/marble/a.jpg"]


def test_what_is_no_regular_file_is_rejected_and_never_opened(tmp_path: Path) -> None:
    root = write(tmp_path / "rocks", "marble/a.jpg", "gneiss/b.jpg")
    os.mkfifo(root / "marble" / "pipe.jpg")  # reading it would wait for a writer for ever
    (root / "marble" / "dangling.jpg").symlink_to(tmp_path / "absent.jpg")
    (root / "marble" / "itself.jpg").symlink_to(root / "marble" / "itself.jpg")
    (root / "marble" / "folder.jpg").mkdir()
    dataset = open_dataset(root)
    assert len(dataset.records) == 2
    assert [(one.path.rpartition("/")[2], one.reason) for one in dataset.rejected] == [
        ("dangling.jpg", "not a regular file"),
        ("itself.jpg", "not a regular file"),
        ("pipe.jpg", "not a regular file"),
    ]


def test_files_refuses_a_pipe_a_folder_and_an_absent_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in (
        ("pipe.jpg", "not a regular file"),
        (".", "not a regular file"),
        ("absent.jpg", "No such file"),
        ("nul\0.jpg", "null"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(ImageError, match=reason):
            Files().read(Record("rocks/marble/a.jpg", "marble", f"{tmp_path}/{name}"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(600 * 2**20)  # a hole, it takes no space
    with pytest.raises(ImageError, match=r"^629,145,600 bytes; at most 536,870,912 are read"):
        Files().read(Record("rocks/marble/huge.jpg", "marble", str(path)))


@pytest.mark.parametrize("packed", [True, False])
def test_records_are_hashed_in_order_and_counted(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / "rocks"
    for number in range(300):
        write(root, f"class{number % 3}/{number:03}.jpg", content=b"%d" % number)
    location = root
    if packed:
        location = Path(shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path, "rocks"))
    dataset = open_dataset(location)
    done: list[int] = []
    hashed, rejected = hash_records(dataset.source, dataset.records, progress=done.append)
    assert rejected == []
    assert [one.record for one in hashed] == list(dataset.records)
    assert sum(done) == 300
    for one in hashed:
        number = int(one.record.path[-7:-4])
        assert one.sha256 == hashlib.sha256(b"%d" % number).hexdigest()


def test_a_file_that_vanished_is_rejected(tmp_path: Path) -> None:
    root = write(tmp_path / "rocks", "marble/a.jpg", "gneiss/b.jpg")
    dataset = open_dataset(root)
    (root / "marble" / "a.jpg").unlink()
    hashed, rejected = hash_records(dataset.source, dataset.records)
    assert [one.record.label for one in hashed] == ["gneiss"]
    assert [(one.path, one.reason) for one in rejected] == [
        ("rocks/marble/a.jpg", "cannot be read: No such file or directory")
    ]
