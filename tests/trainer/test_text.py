"""The policy for text: stored spellings, files found by them, and names that are shown."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from geosim.trainer.text import on_disk, printable, spellings, stored_name, stored_path

NFC, NFD = (unicodedata.normalize(form, "Grünstein") for form in ("NFC", "NFD"))


def test_both_forms_of_a_name_are_stored_alike() -> None:
    assert NFC != NFD
    assert stored_name(NFC) == stored_name(NFD) == NFC
    assert stored_path(f"rocks/{NFD}/a.jpg") == f"rocks/{NFC}/a.jpg"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b"G\xe9ologie", "G%E9ologie"),
        (b"100%\xe9", "100%25%E9"),
        (b"100%", "100%"),
        (b"Gru\xcc\x88n\xff", "Grün%FF"),
    ],
)
def test_bytes_that_are_no_utf8_have_a_readable_spelling(name: bytes, stored: str) -> None:
    assert stored_name(os.fsdecode(name)) == stored
    stored.encode()


def test_a_name_in_utf8_is_stored_alike_in_a_locale_that_is_not() -> None:
    name = os.fsencode(NFD).decode("ascii", "surrogateescape")  # as Python reads it there
    assert stored_name(name) == NFC
    assert printable(name) == NFD
    assert stored_name(f"{name}\udcff") == f"{NFC}%FF"
    assert stored_name(f"{name}\ud800").isprintable()


def test_half_a_pair_of_windows_is_stored_as_valid_text() -> None:
    stored_name("a\ud800").encode()
    assert stored_name("a\ud800") != stored_name("a\ud801")


def test_a_typed_path_may_mean_what_earlier_versions_stored() -> None:
    assert {f"rocks/{NFC}/a.jpg", f"rocks/{NFD}/a.jpg"} == set(spellings(f"rocks/{NFC}/a.jpg"))
    assert "rocks/marble/a.jpg" in spellings("rocks\\marble\\a.jpg")
    assert spellings("rocks/marble/a.jpg") == ["rocks/marble/a.jpg"]


def test_a_file_is_found_by_its_stored_spelling(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"G\xe9ologie") / NFD
    folder.mkdir(parents=True)
    (folder / "a.jpg").touch()
    assert on_disk(tmp_path / "G%E9ologie" / NFC / "a.jpg") == folder / "a.jpg"
    assert (
        on_disk(tmp_path / "G%E9ologie" / NFC / "b.jpg") == tmp_path / "G%E9ologie" / NFC / "b.jpg"
    )
    (folder.parent / NFC).mkdir()
    assert on_disk(folder.parent / NFC) == folder.parent / NFC


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("花岗岩 Grünstein €", "花岗岩 Grünstein €"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x1b[2Jx\x9b31m\x7f", r"\x1b[2Jx\x9b31m\x7f"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("gra\u200bnite\ufeff\u2060", r"gra\u200bnite\ufeff\u2060"),
        ("gra\u034fnite\ufe0f\u3164", r"gra\u034fnite\ufe0f\u3164"),
        ("\U000e0041", r"\U000e0041"),
        (os.fsdecode(b"G\xe9o"), "G%E9o"),
    ],
)
def test_shown_names_neither_control_a_terminal_nor_hide(text: str, shown: str) -> None:
    assert printable(text) == shown
