"""The data set's archive: fetched, checked, unpacked; real archives, a server on loopback."""

import logging
import socket
import stat
import zipfile
from pathlib import Path

import pooch
import pytest

from geosim.trainer.data import download
from geosim.trainer.data.download import download_dataset
from geosim.trainer.errors import DownloadError
from geosim.trainer.files import sha256_of

PICTURES = {
    "geological_similarity/gneiss/A1.jpg": b"first picture " * 50,
    "geological_similarity/gneiss/B2.jpg": b"second picture " * 50,
    "geological_similarity/marble/A1.jpg": b"third picture " * 50,
}


@pytest.fixture
def served(served_folder: tuple[Path, str]) -> tuple[Path, str]:
    """The place of the archive in a served folder, and its address."""
    folder, url = served_folder
    return folder / "set.zip", f"{url}/set.zip"


@pytest.fixture
def nowhere() -> str:
    """An address nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}/set.zip"


def write_archive(path: Path, entries: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def archive_in(folder: Path) -> Path:
    return folder / "geological_similarity.zip"


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_fetches_and_unpacks(served: tuple[Path, str], tmp_path: Path) -> None:
    archive, url = served
    write_archive(archive, {**PICTURES, "geological_similarity/marble/": b"", "notes.txt": b"x"})
    folder = tmp_path / "data"
    result = download_dataset(folder, url=url, digest=None)
    assert result == folder / "geological_similarity"
    assert {f"{result.name}/{name}": content for name, content in files_below(result).items()} == (
        PICTURES
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "geological_similarity",
        "geological_similarity.zip",
    ]


def test_the_library_says_nothing_of_its_own(
    served: tuple[Path, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    archive, url = served
    write_archive(archive, PICTURES)
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    pooch.get_logger().addHandler(handler)
    request.addfinalizer(lambda: pooch.get_logger().removeHandler(handler))
    download_dataset(tmp_path / "data", url=url, digest=None)
    assert told == []


def test_another_archive_than_the_published_one_is_refused(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    archive, url = served
    write_archive(archive, PICTURES)
    with pytest.raises(DownloadError, match=r"hash.*geosim demo") as caught:
        download_dataset(tmp_path / "data", url=url)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_the_pinned_digest_is_that_of_the_real_archive(real_data: Path) -> None:
    assert f"sha256:{sha256_of(real_data)}" == download.DATASET_DIGEST


def test_what_is_there_is_returned_at_once(tmp_path: Path, nowhere: str) -> None:
    (tmp_path / "geological_similarity").mkdir()
    assert download_dataset(tmp_path, url=nowhere) == tmp_path / "geological_similarity"


def test_an_archive_that_is_there_needs_no_network(tmp_path: Path, nowhere: str) -> None:
    write_archive(archive_in(tmp_path), PICTURES)
    result = download_dataset(tmp_path, url=nowhere)
    assert len(files_below(result)) == len(PICTURES)


def test_without_network_the_message_names_what_works(tmp_path: Path, nowhere: str) -> None:
    with pytest.raises(DownloadError, match=r"geosim demo.*geosim run FOLDER") as caught:
        download_dataset(tmp_path, url=nowhere)
    assert "\n" not in str(caught.value)


def test_a_damaged_entry_deletes_the_archive(served: tuple[Path, str], tmp_path: Path) -> None:
    archive, url = served
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        for name, content in PICTURES.items():
            opened.writestr(name, content)
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"third picture", b"THIRD picture"))
    folder = tmp_path / "data"
    with pytest.raises(DownloadError, match=r"damaged .*run again"):
        download_dataset(folder, url=url, digest=None)
    assert list(folder.iterdir()) == []
    archive.write_bytes(whole)
    assert len(files_below(download_dataset(folder, url=url, digest=None))) == len(PICTURES)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_cut_archive_is_deleted(tmp_path: Path, nowhere: str, kept: float) -> None:
    archive = write_archive(archive_in(tmp_path), PICTURES)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DownloadError, match=r"damaged .*run again"):
        download_dataset(tmp_path, url=nowhere)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/evil.jpg", "absolute"),
        ("../evil.jpg", "leads out"),
        ("geological_similarity/../../evil.jpg", "leads out"),
        ("C:/evil.jpg", "drive letter"),
        ("geological_similarity\\..\\evil.jpg", "backslash"),
    ],
)
def test_an_unsafe_name_is_refused(tmp_path: Path, nowhere: str, name: str, reason: str) -> None:
    folder = tmp_path / "data"
    write_archive(archive_in(folder), {**PICTURES, name: b"evil"})
    with pytest.raises(DownloadError, match=reason):
        download_dataset(folder, url=nowhere)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "geological_similarity.zip"]


def test_a_symbolic_link_is_refused(tmp_path: Path, nowhere: str) -> None:
    link = zipfile.ZipInfo("geological_similarity/gneiss")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive_in(tmp_path), "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(DownloadError, match="is a link"):
        download_dataset(tmp_path, url=nowhere)
    assert list(tmp_path.iterdir()) == [archive_in(tmp_path)]


def test_an_encrypted_entry_is_refused(tmp_path: Path, nowhere: str) -> None:
    archive = write_archive(archive_in(tmp_path), {"geological_similarity/a.jpg": b"secret"})
    content = bytearray(archive.read_bytes())
    # Bit 0 of the flags: 6 bytes into the local header, 8 bytes into the central one.
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="is encrypted"):
        download_dataset(tmp_path, url=nowhere)


def test_an_absurd_size_is_refused_unread(tmp_path: Path, nowhere: str) -> None:
    archive = write_archive(archive_in(tmp_path), {"geological_similarity/a.jpg": b"small"})
    content = bytearray(archive.read_bytes())
    # The uncompressed size: 24 bytes into the central header.
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (download.MAX_UNPACKED_BYTES + 1).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="would unpack to 3000000001 bytes"):
        download_dataset(tmp_path, url=nowhere)


def test_another_archive_is_refused(tmp_path: Path, nowhere: str) -> None:
    write_archive(archive_in(tmp_path), {"cats/a.jpg": b"a cat"})
    with pytest.raises(DownloadError, match="no folder geological_similarity/"):
        download_dataset(tmp_path, url=nowhere)
    assert list(tmp_path.iterdir()) == [archive_in(tmp_path)]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, nowhere: str) -> None:
    write_archive(archive_in(tmp_path), PICTURES)
    (tmp_path / "geological_similarity").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot unpack"):
        download_dataset(tmp_path, url=nowhere)
