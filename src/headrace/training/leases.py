"""Which workers live: a lease that each renews, so that nobody takes the work of one that is alive."""

from __future__ import annotations

import os
from datetime import timedelta

import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.hosts import is_gone, this_host

LEASE = timedelta(seconds=8)


class Leases:
    """The workers of a workspace, and the duties that only one of them has at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def renew(self, executor: str) -> None:
        """Say that `executor`, this process, is alive."""
        now = to_text(self._clock())
        at = tables.workers.c
        with self._database.beat() as connection:
            renewed = connection.execute(tables.workers.update().where(at.executor == executor).values(beat=now))
            if not renewed.rowcount:
                row = {
                    "executor": executor,
                    "host": this_host(),
                    "pid": os.getpid(),
                    "started": now,
                    "beat": now,
                }
                connection.execute(tables.workers.insert().values(row))
            until = to_text(self._clock() + LEASE)
            held = tables.duties.c.executor == executor
            connection.execute(tables.duties.update().where(held).values(until=until))

    def end(self, executor: str) -> None:
        """Give up the lease, so that the others need not wait for it to run out."""
        with self._database.write() as connection:
            connection.execute(
                tables.workers.update().where(tables.workers.c.executor == executor).values(beat="", pid=0)
            )
            connection.execute(tables.duties.delete().where(tables.duties.c.executor == executor))

    def living(self) -> list[str]:
        """The executors whose lease holds."""
        return [row.executor for row in self._rows() if not self._dead(row)]

    def dead(self, but: str = "") -> list[str]:
        """The executors whose lease ran out, or whose process is gone from this host; `but` the one that asks."""
        return [row.executor for row in self._rows() if row.executor != but and self._dead(row)]

    def forget(self, executors: list[str]) -> None:
        """Remove the entries of executors whose work was taken over."""
        with self._database.write() as connection:
            connection.execute(tables.workers.delete().where(tables.workers.c.executor.in_(executors)))

    def duty(self, name: str, executor: str) -> bool:
        """Whether `executor` has the duty now; it gets it, or keeps it, where no living one has it."""
        now = self._clock()
        at = tables.duties.c
        living = self.living()
        with self._database.write() as connection:
            holder = connection.execute(sa.select(tables.duties).where(at.name == name)).first()
            if holder and holder.executor != executor and holder.executor in living and holder.until > to_text(now):
                return False
            if holder and holder.executor == executor and holder.until > to_text(now + LEASE / 2):
                return True
            connection.execute(tables.duties.delete().where(at.name == name))
            row = {"name": name, "executor": executor, "until": to_text(now + LEASE)}
            connection.execute(tables.duties.insert().values(row))
        return True

    def _rows(self) -> list[sa.Row[tuple[object, ...]]]:
        with self._database.read() as connection:
            return list(connection.execute(sa.select(tables.workers)))

    def _dead(self, row: sa.Row[tuple[object, ...]]) -> bool:
        if not row.beat or from_text(row.beat) + LEASE < self._clock():
            return True
        return is_gone(row.host, row.pid)
