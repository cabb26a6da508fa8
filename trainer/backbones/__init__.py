"""The backbones. To add one, write a module that registers its spec and import it here."""

from geosim.trainer.backbones import (
    colour_grid,
    efficientnet_lite,
    lite_pair,
    resnet50,
    tile_fusion,
    tile_resnet,
)

__all__ = [
    "colour_grid",
    "efficientnet_lite",
    "lite_pair",
    "resnet50",
    "tile_fusion",
    "tile_resnet",
]
