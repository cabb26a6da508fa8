"""Downloads one file over HTTP, and goes on where it stopped when it is run again.

Owns the partial file and the note beside it. Does not know what is in the file: checking the
content is the caller's. Two processes must not fetch the same target at the same time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import httpx
from tqdm import tqdm

from geosim.trainer.errors import DownloadError


@dataclass(frozen=True)
class _Job:
    """What is fetched and where the pieces go."""

    url: str
    part: Path
    note: Path  # JSON beside the part: its url and what identifies the remote file's version
    expected_bytes: int | None
    label: str


def fetch(
    url: str,
    target: Path,
    *,
    timeout: float,
    expected_bytes: int | None = None,
    label: str | None = None,
) -> Path:
    """Downloads ``url`` to ``target``; the target appears only when it is complete.

    Data goes to ``<target>.part``. If that file is there from an earlier call and the remote file
    is still the same (its ETag or Last-Modified is remembered in ``<target>.part.json``), only the
    rest is asked for. Whatever breaks the call, Ctrl-C included, leaves the partial file.

    Args:
        url: An http or https address; redirects are followed.
        target: The file to write; missing folders are made. An existing file is replaced.
        timeout: Seconds to wait for the connection and for each next piece of data.
        expected_bytes: The size the file must have, if it is known.
        label: Name in the progress bar; by default the target's.

    Returns:
        ``target``.

    Raises:
        DownloadError: The address is wrong or out of reach, the server refused, the connection
            broke, the size is not the expected one, or the disk refused.
    """
    job = _Job(
        url=url,
        part=target.with_name(f"{target.name}.part"),
        note=target.with_name(f"{target.name}.part.json"),
        expected_bytes=expected_bytes,
        label=label or target.name,
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        headers = _resume_headers(job)
        with httpx.Client(follow_redirects=True, timeout=timeout) as client:
            if not (headers and _receive(client, job, headers)):
                _receive(client, job, {})
        job.part.replace(target)
        job.note.unlink()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(
            f"cannot download {url}: {reason}; check the address and the network, then run again"
        ) from error
    except OSError as error:
        raise DownloadError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _resume_headers(job: _Job) -> dict[str, str]:
    """Returns the headers that ask for the rest of a partial file, or none to start over."""
    try:
        remembered = json.loads(job.note.read_text(encoding="utf-8"))
        start = job.part.stat().st_size
        if start and remembered["url"] == job.url and remembered["validator"]:
            return {"Range": f"bytes={start}-", "If-Range": remembered["validator"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no note, or none of ours
    return {}


def _receive(client: httpx.Client, job: _Job, headers: dict[str, str]) -> bool:
    """Makes one request and writes its body to the partial file.

    Args:
        client: Makes the request.
        job: What is fetched.
        headers: What `_resume_headers` returned, or none to fetch the whole file.

    Returns:
        Whether the file is complete. If not, the server's rest does not fit what is there, and
        the whole file must be asked for.
    """
    # Compressed on the way, the bytes could not be counted.
    asked = {"Accept-Encoding": "identity", **headers}
    with client.stream("GET", job.url, headers=asked) as response:
        if headers and response.status_code in (206, 416):
            start = job.part.stat().st_size
            total = _total_of_rest(response, start)
            if total is None or _validator(response) not in ("", headers["If-Range"]):
                return False
        elif response.status_code == 200:
            start, total = 0, _content_length(response)
        else:
            raise DownloadError(
                f"cannot download {job.url}: the server answered {response.status_code}"
                f" {response.reason_phrase}, expected 200; check the address or try again later"
            )
        expected = total if job.expected_bytes is None else job.expected_bytes
        if total not in (None, expected):
            raise DownloadError(
                f"{job.url} has {total} bytes, expected {expected}: it is another file;"
                " check the address"
            )
        if start == 0:
            job.part.unlink(missing_ok=True)
            remembered = {"url": job.url, "validator": _validator(response)}
            job.note.write_text(json.dumps(remembered), encoding="utf-8")
        bar = tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc=job.label, disable=None
        )
        with bar, job.part.open("ab") as file:
            for piece in response.iter_raw():
                file.write(piece)
                bar.update(len(piece))
    received = job.part.stat().st_size
    if expected is not None and received != expected:
        job.part.unlink()
        job.note.unlink()
        raise DownloadError(f"{job.url} gave {received} bytes, expected {expected}; run again")
    return True


def _validator(response: httpx.Response) -> str:
    """Returns what identifies this version of the remote file in If-Range, or ''.

    A weak ETag may not be used there (RFC 9110, section 13.1.5).
    """
    etag: str = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str = response.headers.get("Last-Modified", "")
    return modified


def _content_length(response: httpx.Response) -> int | None:
    """Returns the length of the body, or None where the server does not say."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _total_of_rest(response: httpx.Response, start: int) -> int | None:
    """Returns the whole file's size if the response is its part from ``start`` on, else None."""
    received, _, total = response.headers.get("Content-Range", "").partition("/")
    if not received.startswith(f"bytes {start}-") or not total.isdecimal():
        return None
    return int(total)
