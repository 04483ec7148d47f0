"""Giving the chain to an auditor: entries, signed head, key, and a script that verifies them without Headrace."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from headrace.audit.chain import Head
from headrace.audit.signing import Signer
from headrace.kernel.errors import StorageUnavailable
from headrace.kernel.folders import need_empty

SCRIPT = Path(__file__).with_name("verify_export.py")
FIELDS = ("seq", "time", "who", "action", "subject", "detail", "previous", "hash", "signature")


def export_chain(rows: Iterable[Any], head: Head, signer: Signer, folder: Path) -> int:
    """Write the chain to the new folder, and give the number of its entries.

    Raises:
        Conflict: something stands there.
        StorageUnavailable: it cannot be written.
    """
    need_empty(folder)
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "audit.jsonl").open("wb") as file:
            for row in rows:
                count += 1
                file.write(msgspec.json.encode({name: getattr(row, name) for name in FIELDS}) + b"\n")
        (folder / "head.json").write_bytes(msgspec.json.encode(head))
        (folder / "key.pub").write_bytes(signer.public.pem)
        shutil.copyfile(SCRIPT, folder / "verify.py")
    except OSError as error:
        raise StorageUnavailable(
            f"The audit log could not be written to {folder}: {error.strerror or error}.",
            todo="See that the disk has room and the folder may be written.",
        ) from error
    return count
