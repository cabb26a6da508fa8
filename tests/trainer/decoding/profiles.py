"""ICC profiles for tests: RGB with three primaries and a gamma (ICC.1:2001-04)."""

import struct

import numpy as np
from numpy.typing import NDArray

# Colorants (columns R, G, B) in XYZ of D50, as the vendors' profiles have them, and the gamma.
SRGB = (((0.4361, 0.3851, 0.1431), (0.2225, 0.7169, 0.0606), (0.0139, 0.0971, 0.7141)), 2.2)
ADOBE_RGB = (((0.6097, 0.2053, 0.1492), (0.3111, 0.6257, 0.0632), (0.0195, 0.0609, 0.7446)), 2.2)
DISPLAY_P3 = (((0.5151, 0.2920, 0.1571), (0.2412, 0.6922, 0.0666), (-0.0011, 0.0419, 0.7841)), 2.2)
PROPHOTO = (((0.7977, 0.1352, 0.0313), (0.2880, 0.7119, 0.0001), (0.0, 0.0, 0.8249)), 1.8)

Space = tuple[tuple[tuple[float, ...], ...], float]


def _number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def rgb_profile(space: Space) -> bytes:
    colorants, gamma = space
    white = b"XYZ \0\0\0\0" + b"".join(map(_number, (0.9642, 1.0, 0.8249)))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\x05test\0" + bytes(79), b"wtpt": white}
    for index, name in enumerate(b"rgb"):
        column = [row[index] for row in colorants]
        tags[bytes([name]) + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(_number, column))
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    white = b"XYZ \0\0\0\0" + b"".join(map(_number, (0.9642, 1.0, 0.8249)))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\x05test\0" + bytes(79), b"wtpt": white, b"kTRC": curve}
    return _profile(b"GRAY", tags)


def _profile(colours: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(content), len(body))
        content += body + bytes(-len(body) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    header = struct.pack(">I4sI", 128 + len(body), b"lcms", 0x02400000)
    header += b"mntr" + colours + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(map(_number, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + body


def from_srgb(picture: NDArray[np.uint8], space: Space) -> NDArray[np.float64]:
    """The same colours in another space, 0 to 1."""
    level = picture / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    change = np.linalg.inv(np.array(space[0])) @ np.array(SRGB[0])
    return np.clip(linear @ change.T, 0, 1) ** (1 / space[1])
