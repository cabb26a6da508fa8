"""How the images of a data set are cut into tiles, and whether a collection holds tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geosim.ingest.schema import NAME_ANOTHER, Box
from geosim.ingest.store.base import VectorStore
from geosim.trainer.errors import StoreError

if TYPE_CHECKING:
    from geosim.trainer.data.tiles import TileSize
    from geosim.trainer.decoding.vips_rows import Box as Edges


@dataclass(frozen=True, slots=True)
class Tiling:
    """The size of tiles, and what tells it in pixels of each image.

    Attributes:
        scales: the fact ``mm_per_pixel`` by stored path, of images that have it.
    """

    size: TileSize
    scales: Mapping[str, object]

    def edges(self, path: str, width: int, height: int) -> list[Edges]:
        """Return the tiles of an image of a width and height.

        Raises:
            ImageError: the image has no scale and the size is in millimetres, or the tiles are too
                small or too many.
        """
        from geosim.trainer.data.tiles import tile_boxes

        return tile_boxes(width, height, self.size.pixels(self.scales.get(path)))

    def boxes(self, path: str, width: int, height: int) -> list[Box]:
        """Return the tiles as payloads have them; see `edges`."""
        edges = self.edges(path, width, height)
        return [(left, top, right - left, bottom - top) for left, top, right, bottom in edges]


def is_tiled(store: VectorStore) -> bool | None:
    """Return whether an existing collection holds tiles; None if it is empty."""
    first = store.sample(1, vectors=False)
    return first[0].payload.box is not None if first else None


def check_tiled(store: VectorStore, size: TileSize | None) -> None:
    """Raise `StoreError` if whole images and tiles would be in one collection."""
    if (stored := is_tiled(store)) is None or stored == (size is not None):
        return
    holds, given = ("tiles", "whole pictures") if stored else ("whole pictures", f"tiles of {size}")
    remedy = "name the size with --tiles, such as --tiles 512" if stored else "leave --tiles out"
    raise StoreError(
        f"collection {store.name!r} holds {holds}, and this ingest would store {given}; {remedy}, "
        f"{NAME_ANOTHER}, or build it anew with --recreate"
    )
