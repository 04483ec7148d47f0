"""Every estimator of scikit-learn and of the boosting libraries against its compiled form; the table in the docs.

`HEADRACE_WRITE_DOCS=1` writes docs/estimators.md; else the page must say what is found. `HEADRACE_SOAK=1` asks a
million rows of each, ten thousand of the slow ones.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.contracts import boosters
from tests.contracts.estimators import REFUSED, SLOW, Found, compared, fitted_case

sklearn_utils = pytest.importorskip("sklearn.utils")
PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"
SOAK = os.environ.get("HEADRACE_SOAK") == "1"
ESTIMATORS = dict(sklearn_utils.all_estimators())
BINARY_ONLY = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}


def rows_for(slow: bool) -> int:
    if SOAK:
        return 10_000 if slow else 1_000_000
    return 500 if slow else 4_000


@cache
def documented() -> dict[str, tuple[str, str, str]]:
    if not PAGE.exists():
        return {}
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {
        name: (runtime, level, why) for name, runtime, level, why in lines if not name.startswith(("estimator", "-"))
    }


def line_of(found: Found, tree: bool) -> tuple[str, str, str]:
    """Runtime, the level that must be reached on any machine, and the reason."""
    if found.runtime != "graph":
        return found.runtime, "·", found.reason
    return "graph", "raw scores bit-exact" if tree else "within 1e-12", "·"


def hold(found: Found, tree: bool) -> None:
    if found.runtime != "graph":
        return
    assert found.level in ("L1", "L2")
    assert found.flipped == 0
    assert found.worst <= 1e-12
    if tree:
        assert found.raw == 0.0


def check_page(name: str, line: tuple[str, str, str], written: dict[str, tuple[str, str, str]]) -> None:
    if os.environ.get("HEADRACE_WRITE_DOCS") == "1":
        written[name] = line
        return
    assert documented().get(name) == line, "run with HEADRACE_WRITE_DOCS=1 to write docs/estimators.md"


@pytest.fixture(scope="module")
def written():
    lines: dict[str, tuple[str, str, str]] = {}
    yield lines
    if lines:
        head = "| estimator | runtime | agreement | why |\n| --- | --- | --- | --- |\n"
        body = "".join(f"| {name} | {' | '.join(lines[name])} |\n" for name in lines)
        PAGE.write_text(PREFACE + head + body)


PREFACE = """# What is compiled

Every estimator of scikit-learn, fitted on small data with its default parameters where it has them (transformers are
followed by a ridge regression), and the boosting libraries in the shapes that people fit. This page is written and
checked by `tests/contracts/test_estimators.py`: *graph* answers from the compiled form, *reference* from the Python
object itself, *refused* cannot be registered. The soak (`make soak`) asks a million random rows of each.

"""


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_of_sklearn(name, written):
    if name in REFUSED:
        try:
            case = fitted_case(name, ESTIMATORS[name])
        except Exception:
            case = None
        assert case is None or not hasattr(case.fitted, "predict")
        check_page(name, ("refused", "·", REFUSED[name]), written)
        return
    found = []
    for classes in (2,) if name in BINARY_ONLY else (2, 3):
        case = fitted_case(name, ESTIMATORS[name], classes)
        found.append(compared(case, rows_for(name in SLOW)))
        hold(found[-1], case.tree)
    assert {one.runtime for one in found} == {found[0].runtime}
    check_page(name, line_of(found[0], case.tree), written)


@pytest.mark.parametrize("name", sorted(boosters.CASES))
@pytest.mark.filterwarnings("ignore")
def test_every_shape_of_the_boosting_libraries(name, written):
    package = boosters.CASES[name][0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    found = compared(boosters.fitted_booster(name), rows_for(slow=False))
    hold(found, tree=True)
    check_page(name, line_of(found, tree=True), written)


@pytest.mark.parametrize("library", boosters.NATIVE)
@pytest.mark.filterwarnings("ignore")
def test_the_libraries_own_objects(library, written):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    case = boosters.native_booster(library)
    found = compared(case, rows_for(slow=False))
    hold(found, tree=True)
    check_page(case.name, line_of(found, tree=True), written)


def test_no_row_of_the_page_is_stale():
    native = {f"{library}, its own call" for library in boosters.NATIVE}
    assert set(documented()) == set(ESTIMATORS) | set(boosters.CASES) | native


def test_random_rows_are_not_all_alike():
    """The comparisons rest on rows that part: a constant answer would agree with anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = fitted_case("HistGradientBoostingRegressor", ESTIMATORS["HistGradientBoostingRegressor"])
    rows = case.draw(np.random.default_rng(5), 500)
    assert len(np.unique(case.fitted.predict(rows))) > 100
