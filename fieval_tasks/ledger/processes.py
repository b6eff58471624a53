"""Names of processes in claims, by which other processes on the same machine see that one has ended.

A name is host/place/namespace/pid/start/number. Place or start is empty where a process can't be distinguished from a
later one with the same pid; such a process is never known to be gone, and its claims last until their leases are over.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from pathlib import Path
from secrets import token_hex
from uuid import getnode

import psutil

PROC = Path("/proc")
"""Where Linux shows its processes."""
ENDED = "ended"
"""The start time of a zombie: a process that has ended and that its parent has not waited for yet."""


def owner_name(pid: int | None = None) -> str:
    """A new name for a process at each call."""
    pid = pid or os.getpid()
    host = socket.gethostname().replace("/", "-")[:60]
    return "/".join((host, *_whereabouts(), str(pid), _start(pid) or "", token_hex(4)))


def described(owner: str) -> str:
    """An owner's name in words, for messages."""
    host, *_, pid, _, _ = owner.split("/") if owner.count("/") == 5 else (owner, "", "", "")
    return f"process {pid} on {host}" if pid else owner


def has_gone(owner: str) -> bool:
    """Whether a process is known to have ended; False for processes that can't be seen from here."""
    if owner.count("/") != 5:
        return False
    _, place, namespace, pid, start, _ = owner.split("/")
    if not start or (place, namespace) != _whereabouts():
        return False
    return not _exists(int(pid)) or _start(int(pid)) not in (start, None)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":  # there os.kill ends what it is to look for
        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)  # not psutil: where /proc hides the processes of others (hidepid), it takes them for gone
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, under another account
        return True
    return True


def _whereabouts() -> tuple[str, str]:
    """The machine's boot id and pid namespace; where there is no /proc, the machine alone."""
    if not _has_proc():
        return (_machine(), "") if _started(os.getpid()) else ("", "")
    try:
        if os.readlink(PROC / "self") != str(os.getpid()):  # mounted from another namespace: its numbers mean others
            return "", ""
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return boot, os.readlink(PROC / "self/ns/pid").strip("pid:[]")
    except OSError:
        return "", ""


def _has_proc() -> bool:
    return os.path.lexists(PROC / "self")


@cache
def _machine() -> str:
    """The machine by its name and network address; without an address, a random number."""
    return f"{getnode():x}-{socket.gethostname()}".replace("/", "-")[:60]


def _start(pid: int) -> str | None:
    """When a process began, or `ENDED`; None where that can't be read.

    On Linux in ticks since the boot: psutil's time there is reckoned from the machine's clock, and shifts with it.
    """
    if not _has_proc():
        return _started(pid)
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return ENDED if fields[0] in (b"Z", b"X") else fields[19].decode()


def _started(pid: int) -> str | None:
    """The same on macOS, BSD and Windows, which have no /proc: to a tenth of a second, in which no pid comes round."""
    try:
        process = psutil.Process(pid)
        return ENDED if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.1f}"
    except (psutil.Error, OSError):  # it may live all the same, where we may not look
        return None
