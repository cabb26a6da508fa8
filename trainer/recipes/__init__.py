"""The recipes. To add one, write a module that registers it and import it here."""

from geosim.trainer.recipes import owner, photograph, tile

__all__ = ["owner", "photograph", "tile"]
