"""The workspace's secret for hashes of captured columns."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def open_secret(path: Path) -> bytes:
    """The 32 bytes in a file, which is made where there is none; of two processes that make it, one wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
