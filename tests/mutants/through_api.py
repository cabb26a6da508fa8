"""Search by every file of a folder through the Python API, as a process of its own.

``python -m tests.mutants.through_api WORKING FOLDER SECONDS`` prints the counts as JSON. A file
that takes longer than SECONDS ends the process with a traceback; the last line of stdout names it.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from collections import Counter
from pathlib import Path

from PIL import Image

from geosim.search import Index, open_index
from geosim.trainer.errors import QueryError
from tests.processes import peak_mib


def main(working: str, folder: str, seconds: str) -> None:
    """Search by the files in turn as a path, as bytes, and as what Pillow makes of them."""
    counts: Counter[str] = Counter()
    with open_index(working) as index:
        for number, path in enumerate(sorted(Path(folder).rglob("*.*"))):
            sys.stdout.write(f"{path.name}\n")
            sys.stdout.flush()
            faulthandler.dump_traceback_later(float(seconds), exit=True)
            try:
                _search(index, path, number % 3)
                counts["answered"] += 1
            except QueryError as error:
                if "\n" in str(error):
                    raise
                counts["refused"] += 1
            faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(json.dumps({**counts, "peak": peak_mib("self")}))


def _search(index: Index, path: Path, way: int) -> None:
    if way == 2:
        try:
            image = Image.open(path)
        except Exception as error:  # Pillow's own, which no user of geosim causes
            raise QueryError("not opened") from error
        with image:
            index.search(image)
    else:
        index.search(path if way else path.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
