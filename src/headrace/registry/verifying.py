"""Whether a workspace is whole: its audit chain, every bundle, every snapshot."""

from __future__ import annotations

from collections.abc import Callable

from headrace.audit.log import AuditLog
from headrace.data.snapshots import Snapshots
from headrace.kernel.errors import HeadraceError
from headrace.registry.versions import Versions

EVERYTHING = 1_000_000
Problems = Callable[[], list[str]]


def problems_of(audit: AuditLog, versions: Versions, snapshots: Snapshots, tables: Problems) -> list[str]:
    """What is wrong, in words; every byte of every bundle and every cell of every snapshot is read.

    Args:
        tables: says what is wrong with the tables of predictions and outcomes.
    """
    found = [f"audit: {problem}" for problem in audit.verify().problems]
    for model in versions.models():
        for version in versions.list(model, EVERYTHING):
            try:
                versions.folder(version)
            except HeadraceError as error:
                found.append(f"{version.reference}: {error.text}")
    for snapshot in snapshots.list(limit=EVERYTHING):
        try:
            snapshots.read(snapshot)
        except HeadraceError as error:
            found.append(error.text)
    return found + tables()
