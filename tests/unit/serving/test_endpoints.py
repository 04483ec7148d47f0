"""Versions are loaded when they are asked for, let go under a memory limit, and swapped whole."""

from types import SimpleNamespace

import pytest

from headrace.kernel.errors import NotFound, NotTrusted
from headrace.kernel.ports import Answers
from headrace.kernel.routes import Arm, Endpoint, RouteDocument
from headrace.kernel.schema import Column, Schema
from headrace.serving import endpoints as module
from headrace.serving.counters import Counters
from headrace.serving.endpoints import Endpoints
from headrace.serving.limits import Limits

SCHEMA = Schema(frame="polars", columns=(Column("a", "number", "Float64", example=1.0),))
MEGABYTE = 1 << 20


class Opener:
    """Opens bundles of ten megabytes each; those whose digest says so are damaged."""

    def __init__(self, monkeypatch):
        self.opened = []
        self.memory = 0
        monkeypatch.setattr(module, "resident", lambda: self.memory)

    def __call__(self, digest):
        self.opened.append(digest)
        if digest.startswith("damaged"):
            raise NotTrusted("It was altered.", todo="Restore it.")
        self.memory += 10 * MEGABYTE
        answer = lambda columns, rows: Answers([1.0] * rows, None)  # noqa: E731
        return SimpleNamespace(schema=SCHEMA, task="regression", classes=(), runtime="graph", answer=answer)


def document(generation, live, versions=None):
    endpoints = {model: Endpoint(Arm(number, digest)) for model, (number, digest) in live.items()}
    return RouteDocument(generation, endpoints, versions or {})


def test_a_version_by_number_is_loaded_once_when_it_is_asked_for(monkeypatch):
    opener = Opener(monkeypatch)
    endpoints = Endpoints(opener, Counters())
    endpoints.swap(document(1, {"m": (2, "two")}, {"m": {1: "one", 2: "two"}}))
    assert opener.opened == ["two"]
    held = endpoints.version("m", 1).live
    assert endpoints.load(held) is endpoints.load(held)
    assert opener.opened == ["two", "one"]
    assert endpoints.version("m", 2).live is endpoints.active("m").live
    for model, number in (("m", 3), ("n", 1)):
        with pytest.raises(NotFound):
            endpoints.version(model, number)


def test_the_version_that_was_not_used_for_longest_goes_first(monkeypatch):
    opener, counters = Opener(monkeypatch), Counters()
    endpoints = Endpoints(opener, counters, Limits(memory=25 * MEGABYTE))
    endpoints.swap(document(1, {name: (1, name) for name in ("a", "b", "c")}))
    loaded = {name: endpoints.active(name).live.loaded is not None for name in ("a", "b", "c")}
    assert loaded == {"a": False, "b": True, "c": True} and counters.evictions == 1
    endpoints.active("b").live.used = float("inf")
    assert endpoints.load(endpoints.active("a").live).model == "a"
    assert endpoints.active("c").live.loaded is None and endpoints.active("b").live.loaded is not None
    assert endpoints.active("a").live.facts.task == "regression"
    assert counters.evictions == 2


def test_one_version_larger_than_the_limit_still_answers(monkeypatch):
    endpoints = Endpoints(Opener(monkeypatch), Counters(), Limits(memory=MEGABYTE))
    endpoints.swap(document(1, {"m": (1, "one")}))
    assert endpoints.active("m").live.loaded is not None


def test_a_damaged_version_changes_nothing(monkeypatch):
    endpoints = Endpoints(Opener(monkeypatch), Counters())
    endpoints.swap(document(1, {"m": (1, "one")}))
    before = endpoints.state
    endpoints.swap(document(2, {"m": (2, "damaged"), "n": (1, "new")}))
    assert endpoints.state is before and "altered" in endpoints.problem.text
    endpoints.swap(document(3, {"m": (1, "one"), "n": (1, "new")}))
    assert endpoints.problem is None and set(endpoints.state.active) == {"m", "n"}


def test_what_is_no_longer_named_is_let_go(monkeypatch):
    opener = Opener(monkeypatch)
    endpoints = Endpoints(opener, Counters())
    endpoints.swap(document(1, {"m": (1, "one")}))
    endpoints.swap(document(2, {"m": (2, "two")}))
    endpoints.swap(document(3, {"m": (1, "one")}))
    assert opener.opened == ["one", "two", "one"]
