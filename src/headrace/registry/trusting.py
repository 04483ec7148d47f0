"""Trusting other registries: their public keys, added by an operator and recorded."""

from __future__ import annotations

from pathlib import Path

from headrace.audit.log import AuditLog
from headrace.audit.signing import PublicKey, read_public
from headrace.kernel.places import Places


def add_trusted(places: Places, audit: AuditLog, file: Path, who: str) -> PublicKey:
    """Trust what the key in `file` signs, from now on.

    Raises:
        NotTrusted: the file holds no ed25519 public key.
    """
    key = read_public(file)
    with audit.change() as change:
        places.objects.put(places.trusted / f"{key.id}.pub", key.pem)
        change.entry(who, "trust key", key.id, file=file.name)
    return key
