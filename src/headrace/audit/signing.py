"""The workspace's own ed25519 keys (RFC 8032), made at first use and readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from headrace.kernel.digests import digest_bytes
from headrace.kernel.errors import NotTrusted


class PublicKey:
    """The public half of a key. `pem` is its text (RFC 8410), `id` the SHA-256 of that."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.id = digest_bytes(self.pem)

    def signed(self, content: bytes, signature: str) -> bool:
        """Whether `signature`, in hexadecimal, is this key's signature of `content`."""
        try:
            self._key.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """Signs bytes and recognises its own signatures; both are hexadecimal text."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, content: bytes) -> str:
        """The signature of `content`."""
        return self._key.sign(content).hex()

    def signed(self, content: bytes, signature: str) -> bool:
        """Whether `signature` is this key's signature of `content`."""
        return self.public.signed(content, signature)


def read_public(path: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        NotTrusted: the file holds something else.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise NotTrusted(
            f"{path} does not hold a public key ({error}).", expected="an ed25519 key in PEM", todo="Name another file."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise NotTrusted(
            f"{path} holds a {type(key).__name__}.", expected="an ed25519 key in PEM", todo="Name another file."
        )
    return PublicKey(key)


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
