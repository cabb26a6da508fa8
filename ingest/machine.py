"""The identity of this machine, to tell in a shared collection whose pictures it holds."""

from __future__ import annotations

import hashlib
import platform
import sys
import uuid
from functools import cache
from pathlib import Path

_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@cache
def machine_id() -> str:
    """Return an id that stays with the operating system: 16 hex digits of a SHA-256.

    From systemd's machine id, Windows' MachineGuid or a Mac's network address; a system without
    one, such as most containers, is known by its host name.
    """
    return hashlib.sha256(f"geosim:{_system_id()}".encode()).hexdigest()[:16]


@cache
def running_system() -> str:
    """Return an id of the running system and the processes that see each other; empty if unknown.

    From Linux's boot id and the namespace of process ids, which a container has of its own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except (OSError, UnicodeError):
        return ""


def _system_id() -> str:
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    if sys.platform == "darwin":
        return f"{uuid.getnode():x}"
    for path in _ID_FILES:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeError):
            continue
        if text and text != "uninitialized":
            return text
    return platform.node()
