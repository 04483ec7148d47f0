"""What the OpenAPI document says of answers: the type of the classes, a number, or a list."""

import pytest

from headrace.kernel.schema import Column, Schema
from headrace.serving.describing import components
from headrace.serving.endpoints import Facts

SCHEMA = Schema(frame="polars", columns=(Column("a", "number", "Float64"),))


@pytest.mark.parametrize(
    ("task", "classes", "expected"),
    [
        ("binary", (False, True), {"type": "boolean"}),
        ("multiclass", (1, 2.5, 3), {"type": "number"}),
        ("multiclass", ("low", "high", None), {"type": ["null", "string"]}),
        ("regression", (), {"type": "number"}),
        ("multioutput", (), {"type": "array", "items": {"type": ["boolean", "number", "string"]}}),
    ],
)
def test_predictions_have_the_type_of_the_classes(task, classes, expected):
    names = [str(c) for c in classes]
    reply = components("m", Facts(SCHEMA, task, classes, names, None))["m.reply"]
    answer = reply["properties"]["predictions"]["items"]["properties"]
    assert answer["prediction"] == expected
    assert answer.get("probabilities", {}).get("required", []) == names
