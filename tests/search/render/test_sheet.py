"""Contact sheets: every hit is there, undistorted, and the file is whole or absent."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from geosim.search.render.drawing import SheetRow, contact_sheet
from geosim.search.render.sheet import save_sheet
from geosim.search.types import Hit
from geosim.trainer.errors import QueryError

QUERY_COLOUR = (255, 0, 255)


def flat(colour, size=(28, 28)):
    return Image.new("RGB", size, colour)


def distinct(k):
    """``k`` saturated colours that the sheet itself never uses."""
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(0.8 * i / k, 1, 0.95)) for i in range(k)
    ]


def hit(picture, rank=1, **changes):
    known = {"rank": rank, "score": 0.5, "label": "marble", "path": f"rocks/marble/{rank}.jpg"}
    return Hit(**known | {"id": "", "identical": False} | changes), picture


def row(hits, picture=None, path="rocks/marble/q.jpg", label="marble"):
    return SheetRow(path, label, picture or flat(QUERY_COLOUR), hits)


def where(sheet, colour):
    """Rows and columns of the pixels of exactly this colour."""
    pixels = np.asarray(sheet.convert("RGBA")).view(np.uint32)[..., 0]
    return np.nonzero(pixels == np.array([*colour, 255], np.uint8).view(np.uint32))


def extent(sheet, colour):
    """Left, top, right, bottom of a colour, right and bottom excluded."""
    down, right = where(sheet, colour)
    assert len(down), f"{colour} is not in the sheet"
    return right.min(), down.min(), right.max() + 1, down.max() + 1


@pytest.mark.parametrize("k", [1, 5, 6, 8, 10, 15, 50])
def test_every_hit_is_drawn_whole_at_one_size_in_rank_order(k):
    colours = distinct(k)
    hits = [hit(flat(colour), rank=i + 1) for i, colour in enumerate(colours)]
    sheet = contact_sheet([row(hits)])
    query = extent(sheet, QUERY_COLOUR)
    boxes = [extent(sheet, colour) for colour in colours]
    assert len({(r - x, b - y) for x, y, r, b in boxes}) == 1, "all hits have one size"
    assert len(set(boxes)) == k, "no hit covers another"
    assert all(x > query[2] for x, *_ in boxes), "the query stands on the left"
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0])), "in reading order"
    per_line = [sum(box[1] == top for box in boxes) for top in {box[1] for box in boxes}]
    assert max(per_line) <= 6
    assert all(b < sheet.height and r < sheet.width for _, _, r, b in boxes)


def test_several_queries_stand_under_each_other_with_their_own_hits():
    colours = distinct(12)
    rows = [
        row([hit(flat(c)) for c in colours[4 * i + 1 : 4 * i + 4]], picture=flat(colours[4 * i]))
        for i in range(3)
    ]
    sheet = contact_sheet(rows)
    bottom = 0
    for i in range(3):
        boxes = [extent(sheet, colour) for colour in colours[4 * i : 4 * i + 4]]
        assert all(box[1] > bottom for box in boxes)
        bottom = max(box[3] for box in boxes)


ORANGE, GREEN = (0xC8, 0x50, 0x00), (0x00, 0x80, 0x5E)


@pytest.mark.parametrize(
    ("query", "labels", "marked"),
    [("", ["marble", ""], False), ("marble", ["", ""], False), ("marble", ["", "gneiss"], True)],
)
def test_a_class_and_none_are_not_called_another_class(query, labels, marked):
    hits = [hit(flat((0, 0, 200)), rank=i, label=label) for i, label in enumerate(labels)]
    legend = len(where(contact_sheet([row([])]), ORANGE)[0])
    sheet = contact_sheet([row(hits, label=query)])
    assert (len(where(sheet, ORANGE)[0]) > legend) == marked


def test_all_sheets_are_equally_wide():
    assert len({contact_sheet([row([hit(None)] * k)]).width for k in (0, 1, 5, 23)}) == 1


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (3000, 750), (8, 2), (28, 28), (1, 1)])
def test_pictures_keep_their_proportions_and_fill_the_tile(size):
    colour = distinct(1)[0]
    left, top, right, bottom = extent(contact_sheet([row([hit(flat(colour, size))])]), colour)
    wide, high = right - left, bottom - top
    assert wide / high == pytest.approx(size[0] / size[1], rel=0.05)
    assert max(wide, high) > 150, "small pictures are enlarged, large ones reduced to the tile"


def test_a_whole_picture_is_shown_with_all_its_corners_in_place():
    quarters = distinct(4)
    picture = Image.new("RGB", (600, 200))
    for i, colour in enumerate(quarters):
        picture.paste(colour, (300 * (i % 2), 100 * (i // 2), 300 + 300 * (i % 2), 200))
    sheet = contact_sheet([row([hit(picture)])])
    nw, ne, sw, _ = [extent(sheet, colour) for colour in quarters]
    assert nw[2] <= ne[0] + 2
    assert nw[3] <= sw[1] + 2
    assert abs((nw[2] - nw[0]) - (ne[2] - ne[0])) <= 2


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA", "I;16", "F"])
def test_pictures_of_every_mode_are_accepted_and_left_as_they_are(mode):
    picture = Image.new(mode, (30, 20))
    before = picture.tobytes()
    contact_sheet([row([hit(picture)], picture=picture)])
    assert (picture.mode, picture.size, picture.tobytes()) == (mode, (30, 20), before)


def test_transparent_parts_are_white_and_not_black():
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    absent = contact_sheet([row([hit(flat((0, 0, 0)))])])
    shown = contact_sheet([row([hit(picture)])])
    assert len(where(absent, (0, 0, 0))[0]) > 10_000
    assert len(where(shown, (0, 0, 0))[0]) == 0


def difference(first, second):
    return np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).sum()


def test_a_missing_picture_gets_a_placeholder_that_differs_from_any_flat_tile():
    placeholder = np.asarray(contact_sheet([row([hit(None)])]))
    backdrop = tuple(int(c) for c in placeholder[60, 330])
    bare = contact_sheet([row([hit(flat(backdrop))])])
    assert difference(placeholder, bare) > 1000, "it says so in words"


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 2},
        {"score": 0.5012},
        {"score": -0.5},
        {"label": "gneiss"},
        {"path": "rocks/marble/other.jpg"},
        {"identical": True},
    ],
)
def test_everything_known_of_a_hit_shows(change):
    picture = flat(distinct(1)[0])
    plain, changed = (contact_sheet([row([hit(picture, **c)])]) for c in ({}, change))
    assert plain.size == changed.size
    assert difference(plain, changed) > 0


def test_same_other_and_unknown_class_differ():
    """In colour, and without it: a sign is on the picture of another class."""
    colour = distinct(1)[0]
    sheets = [
        contact_sheet([row([hit(flat(colour), label=label)], label=query)])
        for query, label in (("marble", "marble"), (None, "marble"), ("marble", "gneiss"))
    ]
    frames = [sheet.getpixel((extent(sheet, colour)[0] - 2, 120)) for sheet in sheets]
    assert len(set(frames)) == 3
    covered = [len(where(sheet, colour)[0]) for sheet in sheets]
    assert covered[0] == covered[1] > covered[2] + 200


def test_hits_of_the_class_of_the_query_are_counted():
    """The caption of the query changes with the class of a hit, the panel does nothing else."""
    same, other = (contact_sheet([row([hit(None, label=one)])]) for one in ("marble", "gneiss"))
    panel = (0, 0, 280, same.height)
    assert difference(same.crop(panel), other.crop(panel)) > 0


@pytest.mark.parametrize(
    "change", [{"path": "elsewhere.jpg"}, {"label": "gneiss"}, {"label": None}]
)
def test_everything_known_of_a_query_shows(change):
    plain, changed = (contact_sheet([row([hit(None)], **c)]) for c in ({}, change))
    assert difference(plain, changed) > 0


@pytest.mark.parametrize(
    "text",
    [
        "n" * 5000,
        "/".join(["folder"] * 500),
        "岩石/大理石/写真.jpg",
        "é̂ Ж ≠ 🪨 \x00\n\t",
        "\udcff\udc80.jpg",
        "שלום",
        "",
        "/",
    ],
)
def test_odd_and_endless_text_stays_inside_its_tile(text):
    picture = flat(distinct(1)[0])
    odd = [hit(picture, path=text, label=text, rank=2)]
    drawn = contact_sheet([row(odd, path=text, label=text)])
    left, _, right, _ = extent(drawn, distinct(1)[0])
    query_right = extent(drawn, QUERY_COLOUR)[2]
    sheet = np.asarray(drawn)
    plain = np.asarray(contact_sheet([row([hit(picture, rank=2)])]))
    assert (sheet[:, right + 8 :] == plain[:, right + 8 :]).all(), "nothing right of the hit"
    assert (sheet[:, query_right + 8 : left - 8] == plain[:, query_right + 8 : left - 8]).all()


def test_a_long_path_keeps_its_file_name():
    """Only the leading folders differ, and those are the part that is left out."""
    deep = [f"{folder * 40}/marble/MGN0Z.jpg" for folder in "ab"]
    first, second = (contact_sheet([row([hit(None, path=path)])]) for path in deep)
    assert difference(first, second) == 0
    third = contact_sheet([row([hit(None, path=deep[0].replace("MGN0Z", "MGN0X"))])])
    assert difference(first, third) > 0


def test_a_query_without_hits_is_drawn_and_no_query_is_an_error():
    extent(contact_sheet([row([])]), QUERY_COLOUR)
    with pytest.raises(QueryError, match="at least one"):
        contact_sheet([])


@pytest.mark.parametrize(
    ("name", "kind"), [("s.png", "PNG"), ("s.PNG", "PNG"), ("s.jpg", "JPEG"), ("s.jpeg", "JPEG")]
)
def test_the_ending_chooses_the_format_and_nothing_else_is_left(tmp_path, name, kind):
    rows = [row([hit(flat(distinct(1)[0]))])]
    assert save_sheet(rows, tmp_path / name) == tmp_path / name
    with Image.open(tmp_path / name) as saved:
        assert (saved.format, saved.size) == (kind, contact_sheet(rows).size)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["sheet.bmp", "sheet", "sheet.pngx", ".png"])
def test_an_unknown_ending_is_refused_with_the_valid_ones(tmp_path, name):
    with pytest.raises(QueryError, match=r"\.png, \.jpg, \.jpeg"):
        save_sheet([row([])], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused_and_not_created(tmp_path):
    with pytest.raises(QueryError, match="does not exist"):
        save_sheet([row([])], tmp_path / "absent" / "sheet.png")
    assert list(tmp_path.iterdir()) == []


def test_an_older_sheet_survives_a_failed_save(tmp_path):
    """A JPEG ends at 65,500 pixels: the save fails after drawing, the old file is untouched."""
    path = tmp_path / "sheet.jpg"
    path.write_bytes(b"the older sheet")
    with pytest.raises(QueryError, match=r"name a \.png"):
        save_sheet([row([])] * 180, path)
    assert path.read_bytes() == b"the older sheet"
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.jpg"]
    save_sheet([row([])], path)
    with Image.open(path) as saved:
        assert saved.format == "JPEG"
