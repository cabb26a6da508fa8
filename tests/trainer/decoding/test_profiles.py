"""A picture looks the same in every colour space that a profile states."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, ImageCms

from geosim.trainer.data.images import open_rgb, prepare
from geosim.trainer.decoding.account import CONVERTED, PLAIN
from tests.trainer.decoding.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    Space,
    from_srgb,
    grey_profile,
    rgb_profile,
)

Y, X = np.mgrid[:64, :80]
PICTURE = np.stack([60 + 2 * X, 190 - 2 * Y, 70 + X + Y], axis=-1).astype(np.uint8)
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":
        stored = pillow_heif.from_bytes(image.mode, image.size, image.tobytes())
        stored.info["icc_profile"] = options.pop("icc_profile")
        stored.info["icc_profile_type"] = "prof"
        stored.save(buffer, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored_in(space: Space) -> Image.Image:
    return Image.fromarray(np.rint(from_srgb(PICTURE, space) * 255).astype(np.uint8))


def distance(data: bytes) -> float:
    """Mean difference from `PICTURE`, in levels."""
    return float(np.abs(np.asarray(open_rgb(data), dtype=np.int16) - PICTURE).mean())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 98, "subsampling": 0}),
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 98, "subsampling": "4:4:4"}),
        ("HEIF", {"quality": 98, "chroma": 444}),
    ],
)
@pytest.mark.parametrize(
    "space", [PROPHOTO, ADOBE_RGB, DISPLAY_P3], ids=["prophoto", "adobe", "p3"]
)
def test_a_picture_looks_like_its_srgb_twin(
    space: Space, kind: str, options: dict[str, Any]
) -> None:
    data = encode(stored_in(space), kind, icc_profile=rgb_profile(space), **options)
    assert distance(data) < 2
    assert prepare(data, 8).decoding.decoder == CONVERTED


def test_a_deep_tiff_looks_like_its_srgb_twin() -> None:
    deep = np.rint(from_srgb(PICTURE, PROPHOTO) * 4095).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, deep, photometric="rgb", iccprofile=rgb_profile(PROPHOTO))
    assert distance(buffer.getvalue()) < 1.5


def test_opacity_survives_a_profile() -> None:
    image = stored_in(PROPHOTO)
    image.putalpha(Image.fromarray(np.where(X < 40, 255, 0).astype(np.uint8)))
    found = np.asarray(open_rgb(encode(image, "PNG", icc_profile=rgb_profile(PROPHOTO))))
    assert np.abs(found[:, :40].astype(int) - PICTURE[:, :40]).mean() < 2
    assert (found[:, 40:] == 255).all()


def test_grey_and_palettes_have_profiles_too() -> None:
    grey = Image.fromarray(PICTURE[..., 0])
    lighter = np.asarray(open_rgb(encode(grey, "PNG", icc_profile=grey_profile(1.0))))
    assert lighter.mean() > PICTURE[..., 0].mean() + 30
    few = stored_in(PROPHOTO).quantize(64)
    expected = encode(few.convert("RGB"), "PNG", icc_profile=rgb_profile(PROPHOTO))
    assert open_rgb(encode(few, "PNG", icc_profile=rgb_profile(PROPHOTO))) == open_rgb(expected)


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(SRGB_PROFILE, id="sRGB"),
        pytest.param(grey_profile(1.0), id="of another colour space"),
        pytest.param(rgb_profile(PROPHOTO)[:200], id="cut short"),
        pytest.param(b"no profile at all", id="no profile"),
        pytest.param(bytes(3000), id="zeros"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_profile_that_is_srgb_or_useless_changes_nothing(kind: str, profile: bytes) -> None:
    image = Image.fromarray(PICTURE)
    with_profile = encode(image, kind, icc_profile=profile)
    assert open_rgb(with_profile) == open_rgb(encode(image, kind))
    if kind != "TIFF":
        assert prepare(with_profile, 8).decoding.decoder == PLAIN


def test_every_changed_byte_of_a_profile_is_harmless() -> None:
    profile, generator = rgb_profile(ADOBE_RGB), np.random.default_rng(0)
    image = stored_in(ADOBE_RGB)
    for _ in range(100):
        damaged = bytearray(profile)
        damaged[int(generator.integers(len(profile)))] = int(generator.integers(256))
        assert open_rgb(encode(image, "PNG", icc_profile=bytes(damaged))).size == image.size


def test_what_is_decoded_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encode(stored_in(PROPHOTO), "JPEG", icc_profile=rgb_profile(PROPHOTO), exif=exif)
    assert open_rgb(data).info == {}


def test_threads_share_a_profile() -> None:
    data = encode(stored_in(PROPHOTO), "PNG", icc_profile=rgb_profile(PROPHOTO))
    expected = open_rgb(data)
    with ThreadPoolExecutor(8) as pool:
        assert all(one == expected for one in pool.map(open_rgb, [data] * 64))
