"""The workspace's own ed25519 key (RFC 8032), made at first use and readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headrace.kernel.errors import NotTrusted


class Signer:
    """Signs bytes and recognises its own signatures; both are hexadecimal text."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = key.public_key()

    def sign(self, content: bytes) -> str:
        """The signature of `content`."""
        return self._key.sign(content).hex()

    def signed(self, content: bytes, signature: str) -> bool:
        """Whether `signature` is this key's signature of `content`."""
        try:
            self._public.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True


def open_signer(path: Path) -> Signer:
    """The signer whose key is in `path`; the key is made where there is none.

    Raises:
        NotTrusted: the file holds something else than a key.
    """
    if not path.exists():
        _create(path)
    try:
        return Signer(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
    except ValueError as error:
        raise NotTrusted(
            f"{path} does not hold a signing key ({error}).",
            expected="the 32 bytes of an ed25519 private key",
            todo="Restore the file from a backup of the workspace: without it the audit log cannot be verified.",
        ) from error


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(Ed25519PrivateKey.generate().private_bytes_raw())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
