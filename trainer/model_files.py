"""The files of a saved model, and the one way to put a model beside others in a folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import orjson

from geosim.trainer.files import replacing
from geosim.trainer.kept import CARD, changing, current_card, former_card, load_card
from geosim.trainer.model import Model, load_model, whole_backbone

FILE = re.compile(r"(head|backbone)-[0-9a-f]{12}\.(npz|weights\.h5|xml|bin)")
"""Names of files that a card may have: others would be written over files of geosim."""


def model_files(folder: Path, fingerprint: str | None = None) -> dict[str, Path]:
    """Return the files of a sound model by name, the card last: of the current one without a name.

    Raises:
        ModelError: the model is missing, damaged or of another version.
    """
    model = load_model(folder, fingerprint)
    model.check()
    names = sorted(Path(entry["file"]).name for entry in model.card["files"].values())
    current = current_card(folder)
    is_current = current is not None and current["fingerprint"] == model.fingerprint
    card = folder / CARD if is_current else former_card(folder, model.fingerprint)
    return {**{name: folder / name for name in names}, CARD: card}


def install(source: Path, folder: Path) -> Model:
    """Move a model, whose files were checked, to a folder beside the models there.

    It is the current one if there is none, or it was before. A backbone that is there whole stays,
    as other models share it; ``source`` may lack it.

    Raises:
        ModelError: another process takes too long to change the folder.
        OSError: the folder cannot be written, or a file is missing.
    """
    card = load_card(source / CARD)
    name, folder_card = card["fingerprint"], folder / CARD
    with changing(folder):
        own = whole_backbone(folder, str(card["backbone"]["fingerprint"]))
        for entry in [entry for key, entry in card["files"].items() if key not in own]:
            with replacing(folder / entry["file"]) as temporary:
                shutil.move(source / entry["file"], temporary)
        current = current_card(folder)
        if current is not None and current["fingerprint"] != name:
            folder_card = former_card(folder, name)
        card["files"] |= own
        with replacing(folder_card) as temporary:
            temporary.write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    return load_model(folder, name)
