"""Files that are passed over, counted per class and ending: of other formats, or geosim's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from geosim.trainer.data.images import ENDINGS
from geosim.trainer.data.names import ending_of

_CAMERA_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef "
    ".raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_LAYERED_OR_VECTOR = (
    ".ai .afphoto .cdr .clip .eps .emf .indd .kra .ora .ps .psb .psd .svg .svgz .wmf .xcf"
)
_MICROSCOPE = ".czi .fits .lif .lsm .mrxs .ndpi .nd2 .oib .oif .scn .svs .vsi"
_OTHER_PICTURES = (
    ".bpg .cur .dds .exr .flif .heic .heif .hif .avif .icns .ico .j2k .jbig .jls .jp2 .jph "
    ".jxl .jxr .pam .pbm .pcd .pct .pcx .pfm .pgm .pict .pnm .ppm .qoi .ras .rgb .sgi .tga .wbmp "
    ".wdp .xbm .xpm"
)

PICTURE_ENDINGS = (
    frozenset(f"{_CAMERA_RAW} {_LAYERED_OR_VECTOR} {_MICROSCOPE} {_OTHER_PICTURES}".split())
    - ENDINGS
)
"""File name suffixes, in lower case, of pictures in formats that are not read."""

REMEDY = "not read; convert them to TIFF or JPEG"


DRAWN = "geosim drew them"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Files of one ending in one class that are passed over.

    Attributes:
        label: the class, or the folder where it is in none.
        ending: file name suffix in lower case, empty for names without one; ``/`` for a folder.
        picture: whether they are pictures in a format that is not read.
        own: whether they are pictures that geosim drew, or a folder that it wrote.
    """

    label: str
    ending: str
    count: int
    picture: bool
    own: bool = False

    def __str__(self) -> str:
        if self.ending == "/":
            return f"{self.label}/ passed over: geosim wrote this folder"
        why = DRAWN if self.own else REMEDY
        return f"{self.count:,} {self.ending} in {self.label} passed over: {why}"


def own_folder(parts: tuple[str, ...]) -> PassedOver:
    """Return the passing over of a folder that geosim wrote."""
    return PassedOver("/".join(parts), "/", 1, picture=False, own=True)


def is_image(parts: tuple[str, ...]) -> bool:
    """Return whether the last of path parts has an ending of a format that is read."""
    return ending_of(parts[-1]) in ENDINGS


def count_passed_over(
    files: Iterable[tuple[str, ...]], depth: int, name: str, *, own: bool = False
) -> tuple[PassedOver, ...]:
    """Count files by class and ending, sorted.

    ``files`` are path parts, of which the one at ``depth`` is the class; ``name`` is that of the
    data set. ``own``: geosim drew them.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for parts in files:
        label = parts[depth] if len(parts) > depth + 1 else "/".join(parts[:-1]) or name
        counts[label, ending_of(parts[-1])] += 1
    return tuple(
        PassedOver(label, ending, count, not own and ending in PICTURE_ENDINGS, own)
        for (label, ending), count in sorted(counts.items())
    )
