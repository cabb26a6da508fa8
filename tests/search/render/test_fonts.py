"""Names of other scripts on sheets and plots: in a font that has them, or in a clear mark."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageChops

from geosim.search.evaluation.plots import confusion_plot
from geosim.search.render.drawing import SheetRow, contact_sheet
from geosim.search.render.fonts import drawable
from geosim.search.types import Hit

NAMES = [
    "花岗岩",
    "片麻岩",
    "安山岩",
    "サンプル",
    "화강암",
    "عربي",
    "हिन्दी",
    "😀",
    "𗀀𗀁",
    "𗀀𗀂",
    "a\u202eb",
]

SCRIPT = """
import sys, unicodedata
from pathlib import Path
import numpy as np
from geosim.search.evaluation.plots import confusion_plot
from geosim.search.render.drawing import SheetRow, contact_sheet
folder, names = Path(sys.argv[1]), sys.argv[2:]
contact_sheet([SheetRow(name, name, None, []) for name in names]).save(folder / "sheet.png")
confusion_plot(np.eye(len(names), dtype=np.int64), names, folder / "plot.png")
"""


def sheet(name: str) -> Image.Image:
    hit = Hit(1, 0.5, f"rocks/{name}/a.jpg", name, "", identical=False)
    return contact_sheet([SheetRow(f"rocks/{name}/b.jpg", name, None, [(hit, None)])])


def differ(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is not None


def test_sheets_of_different_names_differ_on_every_machine() -> None:
    sheets = [sheet(name) for name in NAMES]
    assert all(differ(one, other) for one, other in combinations(sheets, 2))


def test_both_forms_of_a_name_look_alike() -> None:
    one, other = (sheet(unicodedata.normalize(form, "Grünstein")) for form in ("NFC", "NFD"))
    assert not differ(one, other)


def test_a_script_without_layout_is_escaped() -> None:
    assert drawable("عربي", shaping=False) == r"\u0639\u0631\u0628\u064a"
    assert drawable("a\u202eb\x1b", shaping=True) == r"a\u202eb\x1b"


@pytest.mark.parametrize("name", ["a$b$c", r"$\frac$", "_hidden", *NAMES])
def test_plots_of_any_names_have_no_missing_glyph(name: str, tmp_path: Path) -> None:
    confusion_plot(np.eye(2, dtype=np.int64), [name, "granite"], tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        image.load()


def make_font(path: Path, text: str) -> None:
    """Write a font in which each character is a box of its own width."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"u{ord(character):x}" for character in text)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): name for c, name in zip(text, names[1:], strict=True)})
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        corners = [(0, 0), (0, 700), (300 + 100 * number, 700), (300 + 100 * number, 0)]
        pen.moveTo(corners[0])
        for corner in corners[1:]:
            pen.lineTo(corner)
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test Tangut", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path.parent.mkdir(parents=True)
    builder.save(path)


@pytest.mark.skipif(sys.platform != "linux", reason="where fonts of a user are on Linux")
def test_a_font_of_the_system_is_found_and_without_one_a_package_is_named(tmp_path: Path) -> None:
    """Tangut, which hardly any machine has a font for."""
    make_font(tmp_path / "share" / "fonts" / "test.ttf", "𗀀𗀁")
    results = {}
    for kind, share in (("with", tmp_path / "share"), ("without", tmp_path / "none")):
        folder = tmp_path / kind
        folder.mkdir()
        command = [sys.executable, "-W", "error", "-c", SCRIPT, folder, "granit 𗀀𗀁", "gneis 𗀁𗀀"]
        results[kind] = subprocess.run(
            command,
            env={**os.environ, "XDG_DATA_HOME": str(share)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stderr
    assert results["with"] == ""
    (line,) = results["without"].splitlines()
    assert "fonts-noto" in line
    for name in ("sheet.png", "plot.png"):
        with (
            Image.open(tmp_path / "with" / name) as one,
            Image.open(tmp_path / "without" / name) as b,
        ):
            assert one.size != b.size or differ(one.convert("RGB"), b.convert("RGB"))
