"""Download of one file over HTTP with a check of its digest, by pooch.

A broken download is not resumed: the files that geosim fetches have 34 and 95 MB.
"""

from __future__ import annotations

import logging
from pathlib import Path

from geosim.trainer.disk import explain
from geosim.trainer.errors import DownloadError
from geosim.trainer.files import replacing
from geosim.trainer.progress import progress_bar
from geosim.trainer.temporary import delete_abandoned


def fetch(url: str, target: Path, *, digest: str | None, timeout: float) -> Path:
    """Download ``url`` to ``target`` and return it, unless a file with this digest is there.

    The target appears only when it is complete and has this digest: ``sha256:HEX``, ``md5:HEX`` or
    None for any content. ``timeout`` is in seconds, for the connection and for each block of data.

    Raises:
        DownloadError: the address is wrong or unreachable, the server refused, the digest differs,
            or the file cannot be written.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)  # of its own, so that `quiet` does not reach it

    def download(url: str, output: str, _pooch: object) -> None:
        # pooch's own downloader leaves the connection open where the server refuses.
        with requests.get(url, stream=True, timeout=timeout) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0)) or None
            with (
                progress_bar(target.name, size, unit="B", unit_scale=True) as bar,
                Path(output).open("wb") as file,
            ):
                for piece in response.iter_content(1 << 16):
                    bar.update(file.write(piece))

    delete_abandoned(target.parent)  # a complete target is not written again
    try:
        if not (target.exists() and pooch.hashes.hash_matches(target, digest)):
            with replacing(target) as temporary:
                name, folder = temporary.name, temporary.parent
                pooch.retrieve(url, digest, fname=name, path=folder, downloader=download)
    except requests.RequestException as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(
            f"cannot download {url}: {reason}; check the address and the network, then run again"
        ) from error
    except ValueError as error:  # pooch raises it for a wrong digest or address
        reason = " ".join(str(error).split())
        raise DownloadError(f"cannot download {url}: {reason}; check the address") from error
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {explain(error, target)}") from error
    return target
