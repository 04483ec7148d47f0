"""Where things lie in a workspace: the one table of its paths, and the addresses of what is no file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from headrace.kernel.objects import Objects


class Places:
    """The paths of one workspace.

    Args:
        root: its folder; where `objects` names object storage, this machine's cache of it.
        url: what opens the workspace again; the folder where it is one.
        metadata: the address of its PostgreSQL database; a SQLite file in `root` where empty.
        objects: the address of object storage; `root` itself where empty.
        keys: the folder of its private keys, where they shall not lie with everything else.
    """

    def __init__(
        self, root: Path, url: str = "", metadata: str = "", objects: str = "", keys: Path | None = None
    ) -> None:
        self.root = root
        self.url = url or str(root)
        self.metadata = metadata
        self.keys = keys
        self._objects = objects

    @cached_property
    def objects(self) -> Objects:
        """The files that all processes of the workspace share."""
        return Objects(self.root, self._objects)

    @property
    def name(self) -> str:
        """What the workspace is called: its folder, or its database."""
        return self.metadata.rpartition("/")[2].partition("?")[0] or self.root.name

    @property
    def embedded(self) -> bool:
        """Whether the workspace is one folder."""
        return not self.metadata

    @property
    def database_file(self) -> Path:
        """Metadata and audit, of an embedded workspace."""
        return self.root / "headrace.db"

    @property
    def durable_file(self) -> Path:
        """The state of durable runs of an embedded workspace (DBOS's own tables, in a file of their own)."""
        return self.root / "durable.db"

    @property
    def database(self) -> str:
        """The address of metadata and audit."""
        return self.metadata or f"sqlite:///{self.database_file}"

    @property
    def durable(self) -> str:
        """The address of the state of durable runs."""
        return self.metadata or f"sqlite:///{self.durable_file.resolve()}"

    @property
    def audit_head(self) -> Path:
        """The newest signed head of the audit chain."""
        return self.root / "audit-head.json"

    @property
    def audit_key(self) -> Path:
        """The key that signs the chain."""
        return (self.keys or self.root / "keys") / "audit.key"

    @property
    def signing_key(self) -> Path:
        """The key that signs bundles and statements about them."""
        return (self.keys or self.root / "keys") / "signing.key"

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
        return (self.keys or self.root / "keys") / "capture.key"

    @property
    def console_key(self) -> Path:
        """The secret of what the console signs: links to results, and the way to an identity provider and back."""
        return (self.keys or self.root / "keys") / "console.key"

    @property
    def scorers(self) -> Path:
        """The counts of scoring processes, a file each."""
        return self.root / "predictions" / "scorers"

    @property
    def scorers_here(self) -> Path:
        """The same of the scoring processes of this machine, before they are shared; where the workspace is a folder,
        the same folder. What is fetched of the others must not take the place of what is counted here."""
        return self.root / "predictions" / "counting" if self.objects.remote else self.scorers

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
    def jobs(self) -> Path:
        """A folder for each batch job, with its plan and parts."""
        return self.root / "jobs"

    @property
    def uploads(self) -> Path:
        """A folder for each file that was sent to be scored."""
        return self.root / "uploads"

    @property
    def results(self) -> Path:
        """A folder for each result that was given no other place."""
        return self.root / "results"

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
    def predictions_outbox(self) -> Path:
        """Segments that are complete and wait to be shared; where the workspace is a folder, the inbox itself."""
        return self.root / "predictions" / "outbox" if self.objects.remote else self.predictions_inbox

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


def agreed(places: Places, key: Path, make: Callable[[Path], object]) -> Path:
    """A private key of the workspace, made by `make` where there is none; all its processes have the same."""
    if places.keys is None:
        return places.objects.agree(key, make)
    make(key)
    return key
