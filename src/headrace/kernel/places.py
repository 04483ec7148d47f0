"""Where things lie in a workspace folder: the one table of its paths."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Places(NamedTuple):
    """The paths of one workspace."""

    root: Path

    @property
    def database(self) -> Path:
        """Metadata and audit."""
        return self.root / "headrace.db"

    @property
    def durable(self) -> Path:
        """The state of durable runs (DBOS's own tables, in a file of their own)."""
        return self.root / "durable.db"

    @property
    def audit_head(self) -> Path:
        """The newest signed head of the audit chain."""
        return self.root / "audit-head.json"

    @property
    def audit_key(self) -> Path:
        """The key that signs the chain."""
        return self.root / "keys" / "audit.key"

    @property
    def signing_key(self) -> Path:
        """The key that signs bundles and statements about them."""
        return self.root / "keys" / "signing.key"

    @property
    def signing_public(self) -> Path:
        """Its public half, in PEM, to be given to others."""
        return self.root / "keys" / "signing.pub"

    @property
    def trusted(self) -> Path:
        """Public keys of other registries that the operator trusts."""
        return self.root / "keys" / "trusted"

    @property
    def capture_key(self) -> Path:
        """The secret of hashes of captured columns."""
        return self.root / "keys" / "capture.key"

    @property
    def scorers(self) -> Path:
        """The counts of scoring processes, a file each."""
        return self.root / "predictions" / "scorers"

    @property
    def routes(self) -> Path:
        """The route document that scoring processes poll."""
        return self.root / "routes.json"

    @property
    def datasets(self) -> Path:
        """A Delta table for each dataset."""
        return self.root / "datasets"

    @property
    def bundles(self) -> Path:
        """A folder for each bundle, named by its digest."""
        return self.root / "bundles"

    @property
    def staging(self) -> Path:
        """Bundles in the making; what lies here after a crash may be removed."""
        return self.root / "staging"

    @property
    def trash(self) -> Path:
        """What is being removed; it may go at any time."""
        return self.root / "trash"

    @property
    def code(self) -> Path:
        """A folder for each state of a project's source, named by its digest."""
        return self.root / "code"

    @property
    def runs(self) -> Path:
        """A folder for each run, with what its steps hand to each other."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """What background processes print."""
        return self.root / "logs"

    @property
    def spool(self) -> Path:
        """A folder for each scoring process, with the segments it is writing."""
        return self.root / "predictions" / "spool"

    @property
    def predictions_inbox(self) -> Path:
        """Segments that are complete and wait for the worker."""
        return self.root / "predictions" / "inbox"

    @property
    def predictions(self) -> Path:
        """The predictions table."""
        return self.root / "predictions" / "table"

    @property
    def outcomes_inbox(self) -> Path:
        """Outcomes that were accepted and wait for the worker."""
        return self.root / "outcomes" / "inbox"

    @property
    def outcomes(self) -> Path:
        """The outcomes table."""
        return self.root / "outcomes" / "table"
