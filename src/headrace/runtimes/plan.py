"""The plan of a compiled version: a declarative encoding, a double-precision graph, and a link.

It is JSON, with test vectors, so that another language can run it: encode each row to doubles, run
``compiled/graph.onnx`` on them, put the raw scores through the link.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.kernel.schema import Scalar

LinkKind = Literal[
    "identity", "exp", "logistic", "softmax", "logistics", "exp32", "logistic32", "softmax32", "given", "none"
]
Decision = Literal["value", "argmax", "positive", "nonnegative", "majority", "index", "each"]


class Number(msgspec.Struct, frozen=True, tag="number", omit_defaults=True):
    """One double: the number itself, 1 or 0 for true or false, NaN for null.

    `round` says to which type the model's frames round it; below `least` and above `most` that type has no number,
    and the model refuses it.
    """

    column: str
    round: Literal["", "float32", "float16"] = ""
    least: float | None = None
    most: float | None = None


class Lookup(msgspec.Struct, frozen=True, tag="lookup", omit_defaults=True):
    """`width` doubles: those of the row in `table` that stands at the value's place in `values`.

    After the values' rows comes that of null, then that of every value that is not among them; null stands for NaN.
    `refused` names the places that the model refuses, with its reason.
    """

    column: str
    values: tuple[Scalar, ...]
    table: tuple[tuple[float | None, ...], ...]
    width: int
    refused: dict[int, str] = {}


class Words(msgspec.Struct, frozen=True, tag="words", omit_defaults=True):
    """A double for each term of `vocabulary`: how often it occurs in the text.

    The text is lowered where `lowercase`; `strip` removes accents ("ascii" or "unicode"). Terms are runs of
    `pattern` ("word") or of characters ("char", "char_wb"), from `shortest` to `longest` of them. `binary` counts
    each once.
    """

    column: str
    vocabulary: dict[str, int]
    analyzer: Literal["word", "char", "char_wb"] = "word"
    pattern: str = r"(?u)\b\w\w+\b"
    lowercase: bool = True
    strip: Literal["", "ascii", "unicode"] = ""
    stop: tuple[str, ...] = ()
    shortest: int = 1
    longest: int = 1
    binary: bool = False
    refuses_null: str = ""


Encoder = Number | Lookup | Words


def encoder_width(encoder: Encoder) -> int:
    """How many doubles an encoder gives."""
    if isinstance(encoder, Words):
        return len(encoder.vocabulary)
    return encoder.width if isinstance(encoder, Lookup) else 1


class Vector(msgspec.Struct, frozen=True):
    """A test vector: a row, and the doubles that it is encoded to (null stands for NaN)."""

    row: dict[str, Scalar]
    encoded: tuple[float | None, ...]


class Link(msgspec.Struct, frozen=True):
    """From raw scores [n, m] to answers.

    `kind`: ``identity``, the score is the answer; ``exp`` of it; ``logistic``, 1 / (1 + exp(-x)) is the probability
    of the second class (of each class: ``logistics``); ``softmax``; ``exp32``, ``logistic32`` and ``softmax32``, the
    same in float32 as XGBoost computes them; ``given``, the scores are probabilities; ``none``, there are none.
    `decision`: ``value``; ``argmax`` of the scores, the first where equal; the second class where the score is
    ``positive`` or ``nonnegative``, or where its probability is a ``majority``, past 0.5; ``index``, a last column
    holds the place of the class; ``each``, every score is the place of a class among the `labels` of one output.
    `whole`: answers are whole numbers.
    """

    kind: LinkKind
    decision: Decision
    whole: bool = False
    labels: tuple[tuple[Scalar, ...], ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What runs beside the graph. `block` rows at most are given to the graph at once, to bound its memory."""

    format: int = 1
    encoders: tuple[Encoder, ...]
    link: Link
    block: int
    checked: bool = False
    vectors: tuple[Vector, ...] = ()
