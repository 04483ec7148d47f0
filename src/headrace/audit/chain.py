"""The arithmetic of the chain: pure functions over entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from headrace.audit.signing import Signer
from headrace.kernel.digests import canonical, digest_bytes
from headrace.kernel.records import AuditEntry, AuditReport

GENESIS = "0" * 64


class Head(msgspec.Struct, frozen=True):
    """The newest entry that was sealed: its number and hash, signed together."""

    seq: int
    hash: str
    signature: str


def link_hash(seq: int, time: str, who: str, action: str, subject: str, detail: str, previous: str) -> str:
    """The hash of an entry: SHA-256 over the canonical JSON of all its fields, the previous hash among them."""
    return digest_bytes(canonical([seq, time, who, action, subject, detail, previous]))


def head_text(seq: int, link: str) -> bytes:
    """What the signature of a head covers."""
    return f"headrace audit head {seq} {link}".encode()


def verify(rows: Iterable[Any], head: Head | None, signer: Signer) -> AuditReport:
    """Walk the chain from its first entry and hold it against the signed head.

    Args:
        rows: the audit table's rows in the order of `seq`.
        head: the newest signed head, or None where the file is absent.
    """
    problems: list[str] = []
    previous, count, at_head = GENESIS, 0, None
    for count, row in enumerate(rows, start=1):
        problems += _link_problems(row, count, previous, signer)
        previous = row.hash
        if head is not None and row.seq == head.seq:
            at_head = row.hash
    problems += _head_problems(head, at_head, count, signer)
    return AuditReport(intact=not problems, entries=count, head=previous, problems=tuple(problems[:20]))


def _link_problems(row: Any, position: int, previous: str, signer: Signer) -> list[str]:
    problems: list[str] = []
    if row.seq != position:
        problems.append(f"entry {position} is missing or out of order: number {row.seq} stands in its place")
    if row.previous != previous:
        problems.append(f"entry {row.seq} does not follow the one before it")
    if row.hash != link_hash(row.seq, row.time, row.who, row.action, row.subject, row.detail, row.previous):
        problems.append(f"entry {row.seq} was edited: its content does not give its hash")
    if not signer.signed(row.hash.encode(), row.signature):
        problems.append(f"entry {row.seq} was not written by this workspace: its signature does not hold")
    return problems


def _head_problems(head: Head | None, at_head: str | None, count: int, signer: Signer) -> list[str]:
    if head is None:
        return ["the file of the signed head is missing"]
    if not signer.signed(head_text(head.seq, head.hash), head.signature):
        return ["the signed head was altered: its signature does not hold"]
    if head.seq > count:
        return [f"entries were removed at the end: the signed head is number {head.seq}, the last entry {count}"]
    if head.seq and at_head != head.hash:
        return [f"entry {head.seq} is not the one that the signed head names"]
    return []


def entry(row: Any) -> AuditEntry:
    """A row of the table as a record."""
    fields = {name: getattr(row, name) for name in AuditEntry.__struct_fields__}
    return AuditEntry(**{**fields, "detail": msgspec.json.decode(row.detail)})
