"""``[[model.NAME.test]]`` of the project file: what is expected of a version beyond its metrics, of several kinds.

Sources: Breck et al., 2017, "The ML Test Score"; Ribeiro et al., 2020, "Beyond Accuracy".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from headrace.training.datasets import Function, Section

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Columns = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class ModelTest(Section, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have: a `name` to be called by, and the number of `rows` that are asked, drawn from those that
    were held out."""

    name: str = ""
    rows: Rows = 500


class Invariance(ModelTest, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="invariance"):
    """The answer does not depend on `columns`: where rows get the values of others there, it moves by at most `within`,
    in at least `share` of the rows. The answer is the probability of the last class, or the number."""

    columns: Columns
    within: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    share: Share = 1.0


class Directional(ModelTest, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="directional"):
    """Where `column` grows `by` so much, the answer `rises` or `falls`, in at least `share` of the rows; a step of up
    to `within` the other way is forgiven."""

    column: str
    by: float
    answer: Literal["rises", "falls"]
    within: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    share: Share = 1.0


class Quality(ModelTest, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="quality"):
    """A metric, overall or on each slice `by` a column, is at least `min` or at most `max`; a slice falls short only
    where its whole interval does. All rows that were held out are asked."""

    metric: str
    by: str = ""
    min: float | None = None
    max: float | None = None


class Overfit(ModelTest, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="overfit"):
    """Trained on a few rows alone, the model knows them: `metric` on the same rows is at least `min`, or at most `max`.
    What cannot do that does not learn from what it is given."""

    metric: str
    min: float | None = None
    max: float | None = None
    rows: Rows = 10


class OwnTest(ModelTest, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="function"):
    """The project's own `function` of (predict, frame): `predict` gives the version's answers to a frame, `frame` is a
    sample with the target. What it raises, or a value that is false, fails the test."""

    function: Function
    options: dict[str, Any] = {}


Test = Invariance | Directional | Quality | Overfit | OwnTest
TEST_KINDS: dict[str, type[ModelTest]] = {
    str(kind.__struct_config__.tag): kind for kind in (Invariance, Directional, Quality, Overfit, OwnTest)
}


def kind_of(test: ModelTest) -> str:
    """What the project file calls this kind."""
    return str(test.__struct_config__.tag)


def title_of(test: ModelTest) -> str:
    """What a test is called: as the project says, or by what it asks."""
    if test.name:
        return test.name
    if isinstance(test, Invariance):
        return f"does not depend on {', '.join(test.columns)}"
    if isinstance(test, Directional):
        return f"{test.answer} where {test.column} changes by {test.by:g}"
    if isinstance(test, Quality):
        return f"{test.metric} by {test.by}" if test.by else test.metric
    if isinstance(test, Overfit):
        return f"learns {test.rows} rows by heart"
    return test.function if isinstance(test, OwnTest) else kind_of(test)
