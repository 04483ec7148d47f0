"""Which versions answer, at one generation: loaded whole before it is used, and replaced in one step."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from headrace.kernel.errors import HeadraceError, NotFound
from headrace.kernel.ports import Scorer
from headrace.kernel.routes import Arm, Endpoint, RouteDocument
from headrace.serving.batching import Batcher
from headrace.serving.counters import Counters
from headrace.serving.decoding import RowDecoder

OpenBundle = Callable[[str], Scorer]


class Loaded:
    """A version that can answer: its decoder and its queue."""

    def __init__(self, model: str, version: int, scorer: Scorer, counters: Counters, pool: ThreadPoolExecutor) -> None:
        self.model = model
        self.version = version
        self.decoder = RowDecoder(scorer.schema)
        self.batcher = Batcher(scorer, counters, pool)
        self.scorer = scorer
        self.time_column = next((column.name for column in scorer.schema.having("time")), None)
        self.class_names = [str(c).lower() if isinstance(c, bool) else str(c) for c in scorer.classes]


class Active(NamedTuple):
    """One endpoint at one generation."""

    live: Loaded
    canary: Loaded | None
    share: float
    paired: bool

    def choose(self, key: str) -> tuple[Loaded, str, Loaded | None]:
        """The version that answers this key, the name of its route, and the one that scores a shadow copy."""
        if self.canary is None:
            return self.live, "live", None
        if zlib.crc32(key.encode()) % 10_000 < self.share * 100:
            return self.canary, "canary", self.live if self.paired else None
        return self.live, "live", self.canary if self.paired else None


class State(NamedTuple):
    """All endpoints at one generation. A request takes one state and keeps it to its end."""

    generation: int
    active: dict[str, Active]
    versions: dict[tuple[str, int], str]


EMPTY = State(0, {}, {})


class Endpoints:
    """The current state, and the loaded bundles behind it."""

    def __init__(self, open_bundle: OpenBundle, counters: Counters) -> None:
        self.state = EMPTY
        self.problem: HeadraceError | None = None
        self._open = open_bundle
        self._counters = counters
        self._loaded: dict[str, Loaded] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    def swap(self, document: RouteDocument) -> None:
        """Load what the document names and make it current; on any fault the old state stays and `problem` says why."""
        try:
            loaded = {arm.bundle: self._load(model, arm) for model, arm in _arms(document)}
        except HeadraceError as error:
            self.problem = error
            return
        active = {
            model: Active(loaded[e.live.bundle], loaded[e.canary.bundle] if e.canary else None, e.share, e.paired)
            for model, e in document.endpoints.items()
        }
        versions = {(m, n): digest for m, known in document.versions.items() for n, digest in known.items()}
        self._loaded = {**{d: v for d, v in self._loaded.items() if d in set(versions.values())}, **loaded}
        self.state = State(document.generation, active, versions)
        self.problem = None
        self._counters.generation = document.generation

    def add(self, model: str, version: int, digest: str) -> None:
        """Make one bundle the only endpoint, without a route document."""
        self.swap(RouteDocument(1, {model: Endpoint(Arm(version, digest))}, {model: {version: digest}}))
        if self.problem is not None:
            raise self.problem

    def active(self, model: str, state: State | None = None) -> Active:
        """The endpoint of a model, in one state.

        Raises:
            NotFound: nothing of this name answers here.
        """
        state = state or self.state
        found = state.active.get(model)
        if found is None:
            known = ", ".join(sorted(state.active)) or "none"
            raise NotFound(
                f"No model {model!r} answers here; these do: {known}.",
                todo="Promote a version with 'headrace promote MODEL@N', or correct the name.",
            )
        return found

    def version(self, model: str, number: int) -> Loaded:
        """One version by its number, loaded when it is first asked for; may take a while.

        Raises:
            NotFound: there is none.
        """
        digest = self.state.versions.get((model, number))
        if digest is None:
            raise NotFound(f"There is no version {model}@{number}.", todo=f"See 'headrace show {model}'.")
        if digest not in self._loaded:
            self._loaded[digest] = self._load(model, Arm(number, digest))
        return self._loaded[digest]

    def _load(self, model: str, arm: Arm) -> Loaded:
        if arm.bundle in self._loaded:
            return self._loaded[arm.bundle]
        return Loaded(model, arm.version, self._open(arm.bundle), self._counters, self._pool)


def _arms(document: RouteDocument) -> list[tuple[str, Arm]]:
    return [(m, arm) for m, e in document.endpoints.items() for arm in (e.live, e.canary) if arm is not None]
