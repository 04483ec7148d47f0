"""Aliases move only to what is fit, say why, and end a rollout that is running."""

import pytest
from tests.conftest import Threshold

from headrace.kernel.errors import CertificateFailed, Conflict, NotFound
from headrace.rollout.settings import Settings

SETTINGS = Settings(steps=(5, 50, 100), windows=3, errors=True, slow=False, margin=0.02)


@pytest.fixture
def two(registered, example):
    registered.register("late", Threshold(6.0), example=example)
    return registered


def test_history_and_rollback(two):
    two.promote("late@2", why="better")
    two.rollback("late", why="worse after all")
    history = two.promotions.history("late")
    assert [(p.number, p.previous, p.why) for p in history] == [
        (1, 2, "worse after all"),
        (2, 1, "better"),
        (1, None, "asked for"),
    ]
    assert two.version("late").number == 1
    assert two.version("late@2").aliases == ()


def test_there_is_no_way_back_from_the_first(registered):
    with pytest.raises(Conflict, match="no earlier live version"):
        registered.rollback("late")


def test_what_is_not_there_or_not_fit_is_not_promoted(ws, example):
    class Fickle(Threshold):
        def predict_proba(self, frame):
            return [[1 - s, s] for _, s in super().predict_proba(frame) for s in [s / len(frame)]]

    version = ws.register("late", Fickle(30.0), example=example)
    assert not version.certificate.passed
    with pytest.raises(CertificateFailed):
        ws.promote("late@1")
    with pytest.raises(NotFound):
        ws.promote("late@2")
    assert ws.promotions.history("late") == []


def test_an_operators_promotion_ends_a_running_rollout(two):
    two.rollouts.begin("late", 2, SETTINGS, "to try it", "")
    assert two.places.routes.read_text().count('"canary":{"version":2') == 1
    two.promote("late@1", why="not now")
    assert two.rollouts.running("late") is None
    assert two.rollouts.list("late")[0].status == "superseded"
    assert '"canary"' not in two.places.routes.read_text()


def test_one_rollout_at_a_time(two):
    two.rollouts.begin("late", 2, SETTINGS, "to try it", "")
    with pytest.raises(Conflict, match="a rollout running"):
        two.rollouts.begin("late", 2, SETTINGS, "again", "")


def test_the_same_run_gives_the_same_version(two):
    first = two.version("late@1")
    assert two.version_store._of_run(first.lineage.run).number == 1


def test_a_model_without_predict_is_refused(ws, example):
    from headrace.kernel.errors import InvalidInput

    with pytest.raises(InvalidInput, match="no method 'predict'"):
        ws.register("late", object(), example=example)
    with pytest.raises(InvalidInput, match="cannot be stored"):
        ws.register("late", _Unstorable(), example=example)
    assert ws.models() == []
    assert not list(ws.places.staging.iterdir())


class _Unstorable(Threshold):
    def __init__(self):
        super().__init__(3.0)
        self.lock = __import__("threading").Lock()
