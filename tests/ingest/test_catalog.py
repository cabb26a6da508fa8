import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geosim.ingest.catalog import ImageReader
from geosim.trainer.data.dataset import Dataset, open_dataset
from geosim.trainer.data.places import Place, read_places, register_place
from geosim.trainer.errors import ImageError


def register_dataset(catalog: Path, dataset: Dataset) -> None:
    register_place(catalog, dataset.name, dataset.place)


@pytest.fixture(params=["folder", "archive", "bare archive"])
def data(request: pytest.FixtureRequest, rocks: Path, tmp_path: Path) -> Path:
    if request.param == "folder":
        return rocks
    if request.param == "bare archive":
        return Path(shutil.make_archive(str(tmp_path / "rocks"), "zip", rocks))
    (tmp_path / "pack").mkdir()
    shutil.move(rocks, tmp_path / "pack" / "rocks")
    return Path(shutil.make_archive(str(tmp_path / "rocks"), "zip", tmp_path / "pack"))


def test_an_image_is_read_by_its_stored_path(data: Path, sample: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "datasets.json"
    register_dataset(catalog, open_dataset(data))
    found = ImageReader(catalog).read("rocks/marble/marble-0002.jpg")
    assert found == (sample / "marble" / "marble-0002.jpg").read_bytes()


def test_pictures_of_several_data_sets_are_found(rocks: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "datasets.json"
    register_dataset(catalog, open_dataset(rocks))
    other = Path(shutil.copytree(rocks, tmp_path / "elsewhere" / "others"))
    register_dataset(catalog, open_dataset(other))
    pictures = ImageReader(catalog)
    for name in ("rocks", "others"):
        assert pictures.read(f"{name}/schist/schist-0000.jpg")


def test_a_data_set_that_comes_later_is_found(rocks: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "datasets.json"
    pictures = ImageReader(catalog)
    with pytest.raises(ImageError):
        pictures.read("rocks/marble/marble-0000.jpg")
    register_dataset(catalog, open_dataset(rocks))
    first = pictures.read("rocks/marble/marble-0000.jpg")
    moved = shutil.move(rocks, tmp_path / "elsewhere" / "rocks")
    register_dataset(catalog, open_dataset(Path(moved)))
    assert pictures.read("rocks/marble/marble-0000.jpg") == first


def test_a_replaced_archive_is_read_anew(rocks: Path, tmp_path: Path) -> None:
    catalog, path = tmp_path / "datasets.json", "rocks/marble/marble-0000.jpg"
    archive = Path(shutil.make_archive(str(tmp_path / "rocks"), "zip", rocks))
    register_dataset(catalog, open_dataset(archive))
    pictures = ImageReader(catalog)
    first = pictures.read(path)
    assert pictures.read(path) == first
    shutil.copy(rocks / "schist" / "schist-0000.jpg", rocks / "marble" / "marble-0000.jpg")
    new = Path(shutil.make_archive(str(tmp_path / "new"), "zip", rocks))
    new.replace(archive)
    assert pictures.read(path) == (rocks / "schist" / "schist-0000.jpg").read_bytes()
    archive.unlink()
    with pytest.raises(ImageError, match="not on this machine any more"):
        pictures.read(path)
    shutil.copy(rocks / "schist" / "schist-0001.jpg", rocks / "marble" / "marble-0000.jpg")
    shutil.make_archive(str(tmp_path / "rocks"), "zip", rocks)
    assert pictures.read(path) == (rocks / "schist" / "schist-0001.jpg").read_bytes()


def test_processes_may_register_data_sets_at_once(rocks: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "datasets.json"
    names = [f"set-{number}" for number in range(24)]
    for name in names:
        (tmp_path / name).symlink_to(rocks)
    note = (
        "import sys; from pathlib import Path; from geosim.trainer.data.places import *\n"
        "for data in sys.argv[2:]:"
        " register_place(Path(sys.argv[1]), Path(data).name, Place(data))"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", note, catalog, *(tmp_path / n for n in part)])
        for part in (names[::2], names[1::2])
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert sorted(read_places(catalog)) == sorted(names)


@pytest.mark.parametrize(
    "path",
    [
        "unknown/marble/marble-0000.jpg",
        "rocks/marble/absent.jpg",
        "rocks/../secret.jpg",
        "rocks/marble/../../secret.jpg",
        "rocks",
        "",
        "/etc/passwd",
        "rocks//etc/passwd",
        "rocks/./marble/marble-0000.jpg",
        "rocks/C:/secret.jpg",
        "rocks/marble\\..\\..\\secret.jpg",
    ],
)
def test_a_missing_or_unsafe_path_is_refused(path: str, rocks: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    catalog = tmp_path / "datasets.json"
    register_dataset(catalog, open_dataset(rocks))
    with pytest.raises(ImageError, match="not on this machine"):
        ImageReader(catalog).read(path)


def test_a_moved_folder_is_missing_until_the_next_ingest(rocks: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "datasets.json"
    register_dataset(catalog, open_dataset(rocks))
    moved = rocks.rename(tmp_path / "away")
    with pytest.raises(ImageError):
        ImageReader(catalog).read("rocks/marble/marble-0000.jpg")
    moved.rename(rocks)
    catalog.write_bytes(b"{damaged")
    with pytest.raises(ImageError):
        ImageReader(catalog).read("rocks/marble/marble-0000.jpg")
    register_dataset(catalog, open_dataset(rocks))
    assert ImageReader(catalog).read("rocks/marble/marble-0000.jpg")


@pytest.mark.skipif(sys.platform == "win32", reason="names of Linux and macOS")
@pytest.mark.parametrize("label", ["back\\slash", "C: core", "..x", "100%", "a\nb"])
def test_a_picture_below_any_name_is_read(sample: Path, tmp_path: Path, label: str) -> None:
    folder = tmp_path / "field" / label
    shutil.copytree(sample / "marble", folder)
    catalog = tmp_path / "datasets.json"
    register_place(catalog, "field", Place(str(folder.parent)))
    found = ImageReader(catalog).read(f"field/{label}/marble-0001.jpg")
    assert found == (sample / "marble" / "marble-0001.jpg").read_bytes()


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/x", "a//x", "./x", "", ".", "..", "x/..", "/", "a\0b"]
)
def test_a_path_that_leads_out_is_not_read(rocks: Path, tmp_path: Path, path: str) -> None:
    catalog = tmp_path / "datasets.json"
    for name in ("x", "rocks/x"):
        Path(tmp_path, name).write_bytes(b"outside")
    register_place(catalog, "rocks", Place(str(rocks / "marble")))
    with pytest.raises(ImageError, match="not on this machine"):
        ImageReader(catalog).read(f"rocks/{path}")
