"""The proofs of a workspace, kept with who asked for them."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.database import Database
from headrace.kernel.errors import NotFound
from headrace.kernel.records import Proof


class Proofs:
    """What was proved of which version."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def add(self, proof: Proof) -> None:
        """Keep a proof; one that stands is left as it is."""
        at = tables.proofs.c
        row = {"id": proof.id, "model": proof.model, "number": proof.number, "level": proof.level}
        with self._audit.change() as change:
            if change.connection.execute(sa.select(at.id).where(at.id == proof.id)).first():
                return
            document = msgspec.json.encode(proof).decode()
            change.connection.execute(tables.proofs.insert().values(**row, document=document))
            subject = f"{proof.model}@{proof.number}"
            change.entry(proof.who, "prove", subject, proof=proof.id, level=proof.level, diverged=proof.diverged)

    def get(self, proof: str) -> Proof:
        """The proof of a run.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.proofs.c.document).where(tables.proofs.c.id == proof)).first()
        if row is None:
            raise NotFound(f"There is no proof {proof!r}.", todo="Prove a version: headrace prove MODEL@N.")
        return msgspec.json.decode(row.document, type=Proof)

    def list(self, model: str, number: int, limit: int = 20) -> list[Proof]:
        """The newest proofs of a version first."""
        at = tables.proofs.c
        query = sa.select(at.document).where(at.model == model, at.number == number).order_by(at.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [msgspec.json.decode(row.document, type=Proof) for row in connection.execute(query)]
