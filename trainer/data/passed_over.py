"""Files that are passed over for the ending of their names, counted per class and ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from geosim.trainer.data.images import ENDINGS

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


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Files of one ending in one class that are passed over.

    Attributes:
        label: the class, or the folder where it is in none.
        ending: file name suffix in lower case, empty for names without one.
        picture: whether the ending is of `PICTURE_ENDINGS`.
    """

    label: str
    ending: str
    count: int
    picture: bool

    def __str__(self) -> str:
        return f"{self.count:,} {self.ending} in {self.label} passed over: {REMEDY}"


def is_image(parts: tuple[str, ...]) -> bool:
    """Return whether the last of path parts has an ending of a format that is read."""
    return PurePosixPath(parts[-1]).suffix.lower() in ENDINGS


def count_passed_over(
    files: Iterable[tuple[str, ...]], prefix: tuple[str, ...], name: str
) -> tuple[PassedOver, ...]:
    """Count files by class and ending, sorted.

    ``files`` are path parts, ``prefix`` those of the root of the data set and ``name`` its name.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for parts in files:
        inside = parts[len(prefix) : -1] if parts[: len(prefix)] == prefix else ()
        label = inside[0] if inside else "/".join(parts[:-1]) or name
        counts[label, PurePosixPath(parts[-1]).suffix.lower()] += 1
    return tuple(
        PassedOver(label, ending, count, ending in PICTURE_ENDINGS)
        for (label, ending), count in sorted(counts.items())
    )
