"""On which host a process runs, and whether it is still there: a killed one cannot say that it ended."""

from __future__ import annotations

import socket
from pathlib import Path


def this_host() -> str:
    """This host, and which of its processes are seen here: containers may share a name and no processes."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def is_gone(host: str, pid: int) -> bool:
    """Whether it is known that a process of this host ended; of those of another host nothing is known."""
    return host == this_host() and not Path(f"/proc/{pid}").exists()
