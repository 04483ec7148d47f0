"""Signatures of bundles, in the OpenSSF model signing format 1.0: a Sigstore bundle around an in-toto statement.

The statement lists every file of a bundle with its SHA-256, sorted by code point; the DSSE envelope around it is signed
by the workspace's ed25519 key. Who is trusted is the registry's word, never the bundle's: its own key, and the public
keys that its operator added.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.audit.signing import PublicKey, Signer, read_public
from headrace.kernel.digests import digest_bytes
from headrace.kernel.errors import NotTrusted
from headrace.runtimes.bundle import MANIFEST, REPAIR, SIGNATURE, Manifest, verify_bundle

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"


def envelope(statement: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """An in-toto statement, signed: a DSSE envelope (secure-systems-lab/dsse, `envelope.md`)."""
    payload = msgspec.json.encode(statement)
    return _sealed(payload, bytes.fromhex(signer.sign(_pae(payload))), signer.public)


def _sealed(payload: bytes, signature: bytes, key: PublicKey) -> dict[str, Any]:
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": key.id}],
    }


def _document(sealed: Mapping[str, Any], key: PublicKey) -> bytes:
    """The Sigstore bundle around an envelope."""
    material = {"publicKey": {"hint": key.id}, "tlogEntries": []}
    return msgspec.json.encode({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": sealed})


def opened(sealed: Mapping[str, Any], keys: Iterable[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    """The statement in a DSSE envelope, once its signature holds by one of `keys`, and that key.

    Raises:
        NotTrusted: it is by none of them, or is no such envelope.
    """
    try:
        payload = base64.b64decode(sealed["payload"], validate=True)
        (signature,) = (base64.b64decode(one["sig"], validate=True) for one in sealed["signatures"])
        right = sealed["payloadType"] == PAYLOAD_TYPE
    except (KeyError, TypeError, ValueError) as error:
        raise NotTrusted(f"The signature is no DSSE envelope: {error!r}.", todo=REPAIR) from error
    signer = next((key for key in keys if right and key.signed(_pae(payload), signature.hex())), None)
    if signer is None or sealed != _sealed(payload, signature, signer):
        raise NotTrusted(
            "The signature is not by a key that this registry trusts.",
            expected="the registry's own key, or one added with 'headrace keys trust FILE'",
            todo="See whose it is; add the public key of its registry only if you know who keeps it.",
        )
    return msgspec.json.decode(payload), signer


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def sign_bundle(folder: Path, name: str, signer: Signer) -> bytes:
    """The signature document of the sealed bundle in `folder`, as `name`; its manifest has the digests."""
    content = (folder / MANIFEST).read_bytes()
    files = {**msgspec.json.decode(content, type=Manifest).files, MANIFEST: digest_bytes(content)}
    resources = [{"name": one, "algorithm": "sha256", "digest": files[one]} for one in sorted(files)]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(resources)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": resources,
        },
    }
    return _document(envelope(statement, signer), signer.public)


def _root(resources: list[dict[str, str]]) -> str:
    return digest_bytes(b"".join(bytes.fromhex(one["digest"]) for one in resources))


class Trust:
    """The public keys by which a bundle may be signed: a workspace's own, and those that its operator added."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self.keys = tuple(keys)

    def verified(self, folder: Path, digest: str | None = None) -> tuple[str, Manifest]:
        """The digest and the manifest of a bundle, once its signature and every byte hold; nothing was deserialised.

        Args:
            digest: what the bundle must be; without it, what its signature says it is.

        Raises:
            NotTrusted: the signature is absent, by another hand, or not of these files; or a file was altered.
        """
        found, signed = self.signed(folder, digest)
        manifest = verify_bundle(folder, found)
        if {**manifest.files, MANIFEST: found} != signed:
            raise NotTrusted(f"The signature of bundle {found[:12]} is not of all its files.", todo=REPAIR)
        return found, manifest

    def signed(self, folder: Path, digest: str | None = None) -> tuple[str, dict[str, str]]:
        """The digest for which a trusted key signed, and that of each file; the files themselves are not read.

        Raises:
            NotTrusted: the signature is absent, by another hand, or of another bundle than `digest`.
        """
        files = self._signed(folder)
        found = files.get(MANIFEST, "")
        if digest not in (None, found):
            raise NotTrusted(f"The signature of bundle {str(digest)[:12]} is of another manifest.", todo=REPAIR)
        return found, files

    def _signed(self, folder: Path) -> dict[str, str]:
        path = folder / SIGNATURE
        try:
            content = path.read_bytes()
            sealed = msgspec.json.decode(content)["dsseEnvelope"]
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
            raise NotTrusted(f"The bundle {folder.name[:12]} has no signature: {error!r}.", todo=REPAIR) from error
        statement, key = opened(sealed, self.keys)
        if statement.get("predicateType") != PREDICATE_TYPE or content != _document(sealed, key):
            raise NotTrusted(f"The signature of bundle {folder.name[:12]} is no model signature.", todo=REPAIR)
        resources = statement["predicate"]["resources"]
        if statement["subject"][0]["digest"]["sha256"] != _root(resources):
            raise NotTrusted(f"The signature of bundle {folder.name[:12]} contradicts itself.", todo=REPAIR)
        return {one["name"]: one["digest"] for one in resources}


def open_trust(own: Path, others: Path) -> Trust:
    """The trust of a workspace: the public key in `own`, and those in the folder `others`.

    Raises:
        NotTrusted: one of the files holds no ed25519 public key.
    """
    paths = [own] if own.exists() else []
    paths += sorted(others.glob("*.pub")) if others.is_dir() else []
    return Trust(read_public(path) for path in paths)
