"""Two people promote at once: one wins, the other is told; nothing is half done."""

import subprocess
import sys
import threading

import pytest
from tests.conftest import Threshold

import headrace
from headrace.kernel.errors import Conflict


@pytest.fixture
def two(registered, example):
    registered.register("late", Threshold(20.0), example=example)
    registered.register("late", Threshold(10.0), example=example)
    return registered


def test_who_looked_before_the_other_moved_is_told(two, monkeypatch):
    fitness = headrace.registry.promotion._fit

    def slowly(version):
        fitness(version)
        if version.number == 2:  # between this one's look and its move, another person promotes
            other = headrace.open(two.places.url)
            monkeypatch.setenv("HEADRACE_WHO", "berta")
            other.promote("late@3", why="berta was faster")
            other.close()

    monkeypatch.setattr("headrace.registry.promotion._fit", slowly)
    with pytest.raises(Conflict, match=r"berta made late@3 live \(berta was faster\)"):
        two.promote("late@2")
    assert two.version("late").number == 3
    assert [p.number for p in two.promotions.history("late")] == [3, 1]
    assert two.verify_audit().intact


PROMOTE = """
import sys, headrace
from headrace.kernel.errors import Conflict
ws = headrace.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    ws.promote(sys.argv[2], why=sys.argv[2])
    print("won", flush=True)
except Conflict as error:
    print("told", error, flush=True)
"""


def test_processes_that_promote_at_the_same_moment(two):
    words = [sys.executable, "-c", PROMOTE, two.places.url]
    outcomes = []
    for _ in range(5):
        before = len(two.promotions.history("late"))
        people = [
            subprocess.Popen([*words, f"late@{n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for n in (2, 3)
        ]
        assert all(person.stdout.readline() == "ready\n" for person in people)
        go = [threading.Thread(target=lambda p=person: (p.stdin.write("go\n"), p.stdin.flush())) for person in people]
        for thread in go:
            thread.start()
        said = [person.communicate(timeout=60)[0] for person in people]
        won = [text for text in said if text.startswith("won")]
        told = [text for text in said if text.startswith("told")]
        assert won
        assert len(won) + len(told) == 2
        assert len(two.promotions.history("late")) == before + len(won)
        outcomes.append(len(won))
    assert two.version("late").number in (2, 3)
    assert two.verify_audit().intact
