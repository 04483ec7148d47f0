"""Which versions answer, at one generation: loaded whole before it is used, and replaced in one step."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.kernel.errors import HeadraceError, NotFound
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Task
from headrace.kernel.routes import Arm, Endpoint, Key, RouteDocument, Rule
from headrace.kernel.schema import Scalar, Schema, example_row
from headrace.serving.batching import Batcher
from headrace.serving.counters import Counters
from headrace.serving.decoding import RowDecoder
from headrace.serving.limits import Limits

OpenBundle = Callable[[str], Scorer]
PAGE = 4096
LEAST_BYTES = 1 << 20


class Loaded:
    """A version that can answer: its decoder and its queue."""

    def __init__(self, model: str, version: int, scorer: Scorer, counters: Counters, limits: Limits) -> None:
        self.model = model
        self.version = version
        self.decoder = RowDecoder(scorer.schema, limits.rows)
        self.batcher = Batcher(scorer, counters)
        self.scorer = scorer
        self.schema = scorer.schema
        self.features = [column.name for column in scorer.schema.features]
        self.time_column = next((column.name for column in scorer.schema.having("time")), None)
        self.class_names = [str(c).lower() if isinstance(c, bool) else str(c) for c in scorer.classes]
        self.sample = self._warm()
        """The prediction for the example row; None where the model refuses it."""

    def _warm(self) -> Any:
        """Answer the example once: what is loaded lazily then is, before the first caller waits for it.

        A model may well refuse its example; that is no reason not to serve it.
        """
        with contextlib.suppress(Exception):
            rows = self.decoder.convert([example_row(self.schema)])
            return self.scorer.answer(rows.columns, 1).predictions[0]
        return None


class Facts(NamedTuple):
    """What stays known of a version once it was loaded."""

    schema: Schema
    task: Task
    classes: tuple[Scalar, ...]
    class_names: list[str]
    sample: Any


class Held:
    """A version that may be asked for; `loaded` is None until it is, and again once it was evicted."""

    def __init__(self, model: str, version: int, digest: str) -> None:
        self.model = model
        self.version = version
        self.digest = digest
        self.loaded: Loaded | None = None
        self.facts: Facts | None = None
        self.bytes = 0
        self.used = 0.0


class Active(msgspec.Struct, frozen=True):
    """One endpoint at one generation."""

    live: Held
    canary: Held | None
    share: float
    paired: bool

    def choose(self, key: str) -> tuple[Held, str, Held | None]:
        """The version that answers this key, the name of its route, and the one that scores a shadow copy."""
        if self.canary is None:
            return self.live, "live", None
        if zlib.crc32(key.encode()) % 10_000 < self.share * 100:
            return self.canary, "canary", self.live if self.paired else None
        return self.live, "live", self.canary if self.paired else None


class State(msgspec.Struct, frozen=True):
    """All endpoints at one generation. A request takes one state and keeps it to its end."""

    generation: int
    active: dict[str, Active]
    versions: dict[tuple[str, int], Held]
    rules: dict[str, Rule]
    keys: dict[str, Key]


EMPTY = State(0, {}, {}, {}, {})


class Endpoints:
    """The current state, and the loaded bundles behind it."""

    def __init__(self, open_bundle: OpenBundle, counters: Counters, limits: Limits | None = None) -> None:
        self.state = EMPTY
        self.problem: HeadraceError | None = None
        self._open = open_bundle
        self._counters = counters
        self._limits = limits or Limits()
        self._held: dict[tuple[str, str], Held] = {}
        self._lock = threading.Lock()

    def swap(self, document: RouteDocument) -> None:
        """Load what the document names and make it current; on any fault the old state stays and `problem` says why."""
        held = dict(self._held)
        try:
            active = {model: self._active(held, model, endpoint) for model, endpoint in document.endpoints.items()}
        except HeadraceError as error:
            self.problem = error
            return
        versions = {
            (model, number): self._hold(held, model, Arm(number, digest))
            for model, known in document.versions.items()
            for number, digest in known.items()
        }
        kept = {id(one) for one in versions.values()}
        kept |= {id(arm) for one in active.values() for arm in (one.live, one.canary)}
        self._held = {place: one for place, one in held.items() if id(one) in kept}
        self.state = State(document.generation, active, versions, document.rules, document.keys)
        self.problem = None
        with self._lock:
            self._evict()
        self._counters.generation = document.generation

    def add(self, model: str, version: int, digest: str, rule: Rule | None = None) -> None:
        """Make one bundle the only endpoint, without a route document; `rule` says what may be written down of it."""
        rules = {} if rule is None else {model: rule}
        self.swap(RouteDocument(1, {model: Endpoint(Arm(version, digest))}, {model: {version: digest}}, rules))
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

    def version(self, model: str, number: int, state: State | None = None) -> Active:
        """One version by its number.

        Raises:
            NotFound: there is none.
        """
        found = (state or self.state).versions.get((model, number))
        if found is None:
            raise NotFound(f"There is no version {model}@{number}.", todo=f"See 'headrace show {model}'.")
        return Active(found, None, 0.0, False)

    def load(self, held: Held) -> Loaded:
        """The version, loaded if it is not; others are evicted where the limit asks for it. May take a while.

        Raises:
            NotTrusted, MissingExtra: it cannot be loaded.
        """
        with self._lock:
            if held.loaded is None:
                before = resident()
                scorer = self._open(held.digest)
                held.loaded = Loaded(held.model, held.version, scorer, self._counters, self._limits)
                names, sample = held.loaded.class_names, held.loaded.sample
                held.facts = Facts(scorer.schema, scorer.task, scorer.classes, names, sample)
                held.bytes = max(resident() - before, LEAST_BYTES)
                held.used = time.perf_counter()
                self._evict(held)
            return held.loaded

    def _evict(self, newest: Held | None = None) -> None:
        """Let go of the versions that were not used for longest, until the rest is within the limit; one stays."""
        loaded = sorted({*self._loaded(), *([newest] if newest else ())}, key=lambda one: one.used)
        over = sum(one.bytes for one in loaded) - self._limits.memory
        kept = newest or (loaded[-1] if loaded else None)
        for one in loaded if self._limits.memory else ():
            if over > 0 and one is not kept:
                one.loaded = None
                over -= one.bytes
                self._counters.evictions += 1

    def _loaded(self) -> list[Held]:
        return [one for one in self._held.values() if one.loaded is not None]

    def _active(self, held: dict[tuple[str, str], Held], model: str, endpoint: Endpoint) -> Active:
        arms = [self._hold(held, model, arm) if arm else None for arm in (endpoint.live, endpoint.canary)]
        for arm in arms:
            if arm is not None and not self._answers_already(model, arm):
                self.load(arm)
        assert arms[0] is not None
        return Active(arms[0], arms[1], endpoint.share, endpoint.paired)

    def _answers_already(self, model: str, arm: Held) -> bool:
        """Whether it was loaded before, and if it is not now, then because it was evicted."""
        now = self.state.active.get(model)
        return arm.loaded is not None or (now is not None and arm in (now.live, now.canary))

    def _hold(self, held: dict[tuple[str, str], Held], model: str, arm: Arm) -> Held:
        place = (model, arm.bundle)
        if place not in held:
            held[place] = Held(model, arm.version, arm.bundle)
        return held[place]


def resident() -> int:
    """The memory of this process in bytes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
