"""Tables beside the pictures: how they are read, matched to pictures, and refused."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest

from geosim.trainer.data.facts import Facts
from geosim.trainer.errors import DatasetError
from geosim.trainer.facts import reading
from geosim.trainer.facts.table import table_facts

PATHS = [f"trip/{name}" for name in ("granite/a.jpg", "granite/b.JPG", "gneiss/c.png", "d.tif")]


def read(
    folder: Path,
    text: str | bytes,
    key: str | None = None,
    paths: list[str] = PATHS,
    encoding: str | None = None,
    **types: str,
) -> tuple[dict[str, dict[str, Any]], dict[str, str], list[str]]:
    """Return the facts of each picture, their types, and what is told."""
    path = folder / "samples.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    layer, told = table_facts(path, paths, key, types, encoding=encoding)
    facts = Facts((layer,))
    return {one: facts.of(one) for one in paths}, facts.types, told


def refusal(
    folder: Path,
    text: str | bytes,
    key: str | None = None,
    encoding: str | None = None,
    **types: str,
) -> str:
    with pytest.raises(DatasetError) as caught:
        read(folder, text, key, encoding=encoding, **types)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "samples.csv") in message
    return message.replace(str(folder / "samples.csv"), "TABLE")


TEXT = "Bild;Fundort\na.jpg;Gabbro bei Köln\nb.jpg;\u2014\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("cp1252"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace(";", "\t").encode(),
        TEXT.replace(";", ",").encode(),
        TEXT.replace(";", "|").encode(),
        b"sep=;\r\n" + TEXT.encode(),
        TEXT.replace("o\u0308", "ö").encode(),
        f"\n\n{TEXT}\n;\n".encode(),
    ],
)
def test_any_usual_encoding_and_delimiter_is_read(tmp_path: Path, data: bytes) -> None:
    facts, types, told = read(tmp_path, data)
    assert facts["trip/granite/a.jpg"] == {"Fundort": "Gabbro bei Köln"}
    assert facts["trip/granite/b.JPG"] == {"Fundort": "\u2014"}
    assert facts["trip/d.tif"] == {}
    assert types == {"Fundort": "text"}
    assert ("Windows-1252" in " ".join(told)) == (data == TEXT.encode("cp1252"))


@pytest.mark.parametrize(
    ("encoding", "place"),
    [
        ("gb18030", "四川花岗岩"),
        ("big5", "花蓮片麻岩"),
        ("shift_jis", "富士山玄武岩"),
        ("koi8-r", "Кольский гнейс"),
        ("cp1251", "Кольский гнейс"),
        ("mac-roman", "Dépôt"),
        ("utf-8", "Dépôt"),
        ("UTF8", "\ufeffDépôt"),
        ("utf-16", "Dépôt"),
    ],
)
def test_a_named_encoding_is_read(tmp_path: Path, encoding: str, place: str) -> None:
    text = f"file,place\na.jpg,{place}\n"
    if place.startswith("\ufeff"):
        text = place[0] + text.replace("\ufeff", "")
    facts, _, told = read(tmp_path, text.encode(encoding), encoding=encoding)
    assert facts["trip/granite/a.jpg"] == {"place": place.removeprefix("\ufeff")}
    assert "1252" not in " ".join(told)


def test_a_table_that_is_not_in_the_named_encoding_is_refused(tmp_path: Path) -> None:
    text = "file,place\na.jpg,Dépôt\n"
    assert refusal(tmp_path, text.encode("cp1252"), encoding="utf-8") == (
        "TABLE is no utf-8; name its encoding with --table-encoding, or save it as CSV in UTF-8"
    )
    assert "workbook" in refusal(tmp_path, b"PK\x03\x04" + bytes(99), encoding="gb18030")


@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "b.JPG", "c.png"),
        ("A.JPG", "b.jpg", "C.png"),
        ("a", "b", "c"),
        ("granite/a.jpg", "granite/b.jpg", "gneiss/c.png"),
        ("trip/granite/a.jpg", "trip/granite/b.JPG", "trip/gneiss/c.png"),
        ("granite\\a.jpg", ".\\granite\\b.jpg", "./gneiss/c.png"),
        ("*/a.*", "b.*", "gneiss/*"),
    ],
)
def test_pictures_are_named_in_several_ways(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows = "".join(f"{n},{name}\n" for n, name in enumerate(names, start=1))
    facts, _, told = read(tmp_path, f"number,picture\n{rows}")
    assert [facts[path] for path in PATHS] == [{"number": 1}, {"number": 2}, {"number": 3}, {}]
    assert "column picture names 3 of 4 pictures; facts: number number" in told[0]
    assert told[1].startswith("1 picture without a row in ")
    assert told[1].endswith(": trip/d.tif")


def test_rows_without_a_picture_are_counted_and_listed(tmp_path: Path) -> None:
    rows = "".join(f"x{n}.jpg,{n}\n" for n in range(14))
    _, _, told = read(tmp_path, f"file,n\na.jpg,1\n{rows},7\n")
    (line,) = [line for line in told if "without a picture" in line]
    assert line.startswith("15 rows of ")
    assert "x0.jpg (line 3), x1.jpg (line 4), " in line
    assert line.endswith(" and 5 more")


def test_a_row_of_a_picture_comes_before_patterns(tmp_path: Path) -> None:
    text = "file,hole,box\ngranite/*,A-7,1\na.jpg,,2\nd*,B-1,\n"
    facts, _, _ = read(tmp_path, text)
    assert facts["trip/granite/a.jpg"] == {"hole": "A-7", "box": 2}
    assert facts["trip/granite/b.JPG"] == {"hole": "A-7", "box": 1}
    assert facts["trip/d.tif"] == {"hole": "B-1"}
    assert "lines 2 and 3 of TABLE both fit trip/granite/a.jpg" in refusal(
        tmp_path, "file,hole\ngranite/*,A-7\n*.jpg,A-8\n"
    )


def column(folder: Path, *cells: str, delimiter: str = ",", **types: str) -> tuple[str, list[Any]]:
    """Return the type and the values that a column of cells has."""
    paths = [f"trip/{n}.jpg" for n in range(len(cells))]
    rows = "".join(f'{n}.jpg{delimiter}"{cell}"\n' for n, cell in enumerate(cells))
    facts, found, _ = read(folder, f"file{delimiter}x\n{rows}", None, paths, **types)
    return found["x"], [facts[path].get("x") for path in paths]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (("1", "2.5", "-3e2", ""), "number", [1, 2.5, -300.0, None]),
        (("1", "n/a", "NaN", "-"), "number", [1, None, None, None]),
        (("\u22124", "+5", ".5", "5."), "number", [-4, 5, 0.5, 5.0]),
        (("007", "012", "100"), "text", ["007", "012", "100"]),
        (("1_000", "2"), "text", ["1_000", "2"]),
        (("1e999", "inf"), "text", ["1e999", "inf"]),
        (("12345678901234567890", "1"), "text", ["12345678901234567890", "1"]),
        (("Na", "K", "none"), "text", ["Na", "K", "none"]),
        (("yes", "No", "y"), "yes/no", ["yes", "no", "yes"]),
        (("TRUE", "false", "n/a"), "yes/no", ["yes", "no", None]),
        (("1", "0"), "number", [1, 0]),
        (("2024-05-31", "2024-6-1"), "date", ["2024-05-31", "2024-06-01"]),
        (("2024/05/31",), "date", ["2024-05-31"]),
        (("31.5.2024", "1.6.2024"), "date", ["2024-05-31", "2024-06-01"]),
        (("31/05/2024", "01/06/2024"), "date", ["2024-05-31", "2024-06-01"]),
        (("05/31/2024", "06/01/2024"), "date", ["2024-05-31", "2024-06-01"]),
        (("01/02/2024", "03/04/2024"), "text", ["01/02/2024", "03/04/2024"]),
        (("05/05/2024",), "date", ["2024-05-05"]),
        (("2024-02-30",), "text", ["2024-02-30"]),
        (
            ("2024-05-31 10:15", "2024-05-31T10:15:30.5Z", "2024-05-31T10:15:30+0200"),
            "date",
            ["2024-05-31T10:15:00", "2024-05-31T10:15:30.5Z", "2024-05-31T10:15:30+02:00"],
        ),
    ],
)
def test_the_type_of_a_column(
    tmp_path: Path, cells: tuple[str, ...], kind: str, values: list[Any]
) -> None:
    assert column(tmp_path, *cells) == (kind, values)


def test_a_decimal_comma_is_one_where_commas_do_not_delimit(tmp_path: Path) -> None:
    assert column(tmp_path, "2,5", "-3", delimiter=";") == ("number", [2.5, -3])
    assert column(tmp_path, "1.5", "3", delimiter=";") == ("number", [1.5, 3])
    assert column(tmp_path, "2,5", "-3") == ("text", ["2,5", "-3"])


def test_mixed_types_are_told_and_can_be_overruled(tmp_path: Path) -> None:
    paths = [f"trip/{n}.jpg" for n in range(10)]
    cells = [*map(str, range(9)), "ca. 30"]
    text = "file,depth\n" + "".join(f"{n}.jpg,{cell}\n" for n, cell in enumerate(cells))
    facts, types, told = read(tmp_path, text, None, paths)
    assert (types, facts["trip/3.jpg"]) == ({"depth": "text"}, {"depth": "3"})
    assert told[1] == (
        "column depth is text: 1 of its values are not a number, such as 'ca. 30' (line 11); "
        "--fact-type 'depth=number' leaves them out"
    )
    facts, types, told = read(tmp_path, text, None, paths, depth="number")
    assert (types, facts["trip/3.jpg"]) == ({"depth": "number"}, {"depth": 3})
    assert facts["trip/9.jpg"] == {}
    assert "'ca. 30' (line 11)" in told[1]
    assert read(tmp_path, text, None, paths, depth="text")[0]["trip/3.jpg"] == {"depth": "3"}


def test_latitude_and_longitude_become_a_point(tmp_path: Path) -> None:
    text = "file,Lat,Lon\na.jpg,51.5,-0.1\nb.jpg,51,\n"
    facts, types, _ = read(tmp_path, text)
    assert types == {"location": "geo"}
    assert facts["trip/granite/a.jpg"] == {"location": {"lat": 51.5, "lon": -0.1}}
    assert facts["trip/granite/b.JPG"] == {}
    utm = "file,Lat,Lon\na.jpg,5700000,345000\n"
    _, types, told = read(tmp_path, utm)
    assert types == {"Lat": "number", "Lon": "number"}
    assert "(line 2) is no place in degrees" in told[1]
    named = "file,north,east\na.jpg,51.5,-0.1\n"
    assert read(tmp_path, named)[1] == {"north": "number", "east": "number"}
    types = {"north": "latitude", "east": "longitude"}
    assert read(tmp_path, named, **types)[1] == {"location": "geo"}
    assert read(tmp_path, text, Lat="number")[1] == {"Lat": "number", "Lon": "number"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "TABLE is empty"),
        ("\n;;\n", "TABLE is empty"),
        ("file,depth\n", "TABLE has a header and no rows"),
        ("file,depth\nx.jpg,1\n", "no column of TABLE names pictures, such as trip/granite/a.jpg"),
        ("file,depth,depth\na.jpg,1,2\n", "TABLE has two columns 'depth'"),
        ("file,\na.jpg,1\n", "column 2 of TABLE has no name"),
        ("file,x\na.jpg,1\na.jpg,2\n", "lines 2 and 3 of TABLE are both of trip/granite/a.jpg"),
        ("file,x\na.jpg,1\ntrip/granite/a.jpg,1\n", "lines 2 and 3 of TABLE are both of"),
        ("file,x\na.jpg,1\nb.jpg,2,3,4\n", "line 3 of TABLE has 4 cells, the header has 2"),
        ('file,x\na.jpg,"1\n', "TABLE is no CSV table (unexpected end of data)"),
        (b"PK\x03\x04rest", "TABLE is an Excel or OpenDocument workbook"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "TABLE is no text"),
        (
            b"file,x\na.jpg,\x81\x8d\n",
            "encoding that cannot be told; name its encoding with --table-",
        ),
        (
            codecs.BOM_UTF16_LE + b"a\0,",
            "encoding that cannot be told; name its encoding with --table-",
        ),
    ],
)
def test_a_bad_table_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert message in refusal(tmp_path, text)


def test_a_name_of_several_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text("file,x\nb.jpg,1\na.jpg,2\n")
    paths = ["trip/a.jpg", "trip/granite/a.jpg", "trip/b.jpg"]
    with pytest.raises(DatasetError, match=r"line 3 .*'a.jpg' is the name of 2 pictures"):
        table_facts(tmp_path / "samples.csv", paths, None, {})
    (tmp_path / "samples.csv").write_text("file,x\nb.jpg,1\ntrip/a.jpg,2\ngranite/a.jpg,3\n")
    layer, _ = table_facts(tmp_path / "samples.csv", paths, None, {})
    assert [Facts((layer,)).of(path)["x"] for path in paths] == [2, 3, 1]
    (tmp_path / "samples.csv").write_text("file,x\na.jpg,1\nA.jpg,2\n")
    layer, _ = table_facts(tmp_path / "samples.csv", ["trip/a.jpg", "trip/A.jpg"], None, {})
    assert Facts((layer,)).of("trip/A.jpg") == {"x": 2}


def test_a_column_is_named(tmp_path: Path) -> None:
    text = "sample,file\na.jpg,b.jpg\nb.jpg,c.png\n"
    assert read(tmp_path, text)[0]["trip/granite/a.jpg"] == {"file": "b.jpg"}
    facts = read(tmp_path, text, "file")[0]
    assert facts["trip/granite/b.JPG"] == {"sample": "a.jpg"}
    assert "TABLE has no column 'name'; its columns: sample, file" in refusal(
        tmp_path, text, "name"
    )
    other = "sample,file\nx,a.jpg\n"
    assert "column sample of TABLE names none of the pictures" in refusal(tmp_path, other, "sample")


def test_a_type_that_no_value_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text("file,rock,day\na.jpg,gneiss,01/02/2024\n")
    with pytest.raises(DatasetError, match=r"no value of column rock is a number, .*\(line 2\)"):
        table_facts(path, PATHS, None, {"rock": "number"})
    with pytest.raises(DatasetError, match="day or the month first"):
        table_facts(path, PATHS, None, {"day": "date"})


def test_a_table_that_is_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.csv"
    with path.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(DatasetError, match="has 1,000 MB, at most 268 MB"):
        table_facts(path, PATHS, None, {})
    with pytest.raises(DatasetError, match=r"cannot read table .*: No such file"):
        table_facts(tmp_path / "none.csv", PATHS, None, {})
    with pytest.raises(DatasetError, match="cannot read table"):
        table_facts(tmp_path, PATHS, None, {})
    monkeypatch.setattr(reading, "MAX_COLUMNS", 3)
    path.write_text("file,a,b,c\na.jpg,1,2,3\n")
    with pytest.raises(DatasetError, match="has 4 columns, at most 3 are read"):
        table_facts(path, PATHS, None, {})
