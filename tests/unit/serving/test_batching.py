"""Batches: what is cheap runs at once, what is large runs in a thread, and no caller harms or holds up another."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from headrace.kernel.errors import DeadlinePassed, Overloaded, SchemaViolation
from headrace.kernel.ports import Answers
from headrace.serving.batching import INLINE_ROWS, MOST_ROWS, Batcher
from headrace.serving.counters import Counters


class Model:
    """Doubles. It waits to be let go where a row says so, and panics as polars does."""

    def __init__(self):
        self.go = threading.Event()
        self.calls = []

    def answer(self, columns, rows):
        values = columns["a"]
        self.calls.append((rows, threading.current_thread() is threading.main_thread()))
        if "wait" in values:
            assert self.go.wait(10)
        if "panic" in values:
            raise Panic("at the disco")
        return Answers([value * 2 for value in values], None)


class Panic(BaseException):
    pass


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def batcher(model):
    found = Batcher(SimpleNamespace(answer=model.answer), Counters())
    for _ in range(30):
        found.single({"a": [1]}, 1)
    model.calls.clear()
    return found


def run(story):
    return asyncio.run(asyncio.wait_for(story, 10))


def ask(batcher, values, seconds=5.0):
    return asyncio.create_task(batcher.answer({"a": values}, len(values), seconds))


def test_small_requests_of_a_turn_are_calls_of_at_most_so_many_rows(model, batcher):
    async def story():
        asked = [ask(batcher, [n]) for n in range(100)]
        assert [(await one).predictions for one in asked] == [[2 * n] for n in range(100)]

    run(story())
    assert model.calls == [(INLINE_ROWS, True), (100 - INLINE_ROWS, True)]


def test_a_large_request_runs_in_a_thread_and_the_small_ones_before_it_do_not(model, batcher):
    async def story():
        small, large = ask(batcher, [1]), ask(batcher, [2] * 100)
        await asyncio.gather(small, large)

    run(story())
    assert model.calls == [(1, True), (100, False)]


def test_a_deadline_holds_behind_a_large_batch(model, batcher):
    async def story():
        large = ask(batcher, ["wait"] * 100)
        await asyncio.sleep(0.01)
        started = time.perf_counter()
        with pytest.raises(DeadlinePassed):
            await ask(batcher, [1], 0.05)
        assert time.perf_counter() - started < 1
        model.go.set()
        assert len((await large).predictions) == 100

    run(story())
    assert model.calls == [(100, False)]


def test_who_waits_no_longer_than_a_turn_is_told_when_it_takes_longer(model, batcher):
    told = []

    async def story():
        large = ask(batcher, ["wait"] * 100)
        await asyncio.sleep(0)
        batcher.ask({"a": [1]}, 1, told.append)
        await asyncio.sleep(0.01)
        assert [type(one) for one in told] == [Overloaded] and not batcher.cheap
        model.go.set()
        await large
        assert batcher.cheap and batcher._counters.waiting == 0

    run(story())


def test_a_caller_that_raises_does_not_reach_the_others(model, batcher, capsys):
    async def story():
        def broken(_result):
            raise RuntimeError("closed")

        for values in ([1], ["x"] * 100):
            batcher.ask({"a": values}, len(values), broken, lambda: False)
            assert len((await ask(batcher, values)).predictions) == len(values)
        assert (await ask(batcher, [5])).predictions == [10]

    run(story())
    assert capsys.readouterr().err.count("closed") >= 2


@pytest.mark.parametrize("rows", [1, 100])
def test_a_panic_is_the_models_and_only_its_row_is_rejected(model, batcher, rows):
    async def story():
        good, bad = ask(batcher, ["y"] * rows), ask(batcher, ["panic", *["y"] * (rows - 1)])
        assert len((await good).predictions) == rows
        with pytest.raises(SchemaViolation, match="Panic at row 0"):
            await bad

    run(story())
    with pytest.raises(SchemaViolation, match="Panic at row 0"):
        batcher.single({"a": ["panic"]}, 1)


def test_what_nobody_waits_for_is_left_out(model, batcher):
    async def story():
        large = ask(batcher, ["wait"] * 100)
        await asyncio.sleep(0.01)
        late = ask(batcher, [7], 0.02)
        with pytest.raises(DeadlinePassed):
            await late
        model.go.set()
        await large
        assert (await ask(batcher, [8])).predictions == [16]

    run(story())
    assert (1, True) in model.calls and sum(rows for rows, _ in model.calls) == 101


def test_a_batch_holds_at_most_so_many_rows(model, batcher):
    async def story():
        half = MOST_ROWS // 2 + 1
        await asyncio.gather(*(ask(batcher, [1] * half) for _ in range(3)))

    run(story())
    assert [rows for rows, _ in model.calls] == [MOST_ROWS // 2 + 1] * 3
