"""What a client gets, and how a reply is read; no network here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from headrace.kernel.errors import Fault, HeadraceError, InvalidInput, Overloaded, Unavailable, rebuilt

Row = Mapping[str, Any]
Rows = Row | Sequence[Row]
RETRIED = (429, 502, 503, 504)


class Prediction(msgspec.Struct, frozen=True):
    """The answer to one row: a label or a number, and for classifiers the probability of each class."""

    prediction: Any
    probabilities: dict[str, float] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to one request, in the order of its rows.

    `fallback` is True where the server did not answer in time, and these are the answers that were declared for that;
    `version` is then 0 and `id` empty. The id of row i's prediction is ``ids[i]``.
    """

    model: str
    version: int
    id: str
    predictions: tuple[Prediction, ...]
    fallback: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the predictions, by which outcomes are recorded later."""
        return tuple(f"{self.id}.{row}" for row in range(len(self.predictions))) if self.id else ()

    @property
    def prediction(self) -> Any:
        """The prediction of the only row.

        Raises:
            InvalidInput: there are several.
        """
        if len(self.predictions) != 1:
            raise InvalidInput(
                f"There are {len(self.predictions)} predictions.", expected="one row", todo="Look into .predictions."
            )
        return self.predictions[0].prediction


_answer = msgspec.json.Decoder(Answer)


def request_body(rows: Rows) -> tuple[bytes, int]:
    """The native request of rows, and their number. Moments are written as ISO 8601, NaN as null, numpy's scalars as
    plain ones."""
    many = [rows] if isinstance(rows, Mapping) else list(rows)
    if not all(isinstance(row, Mapping) for row in many):
        raise InvalidInput(
            f"The rows are a {type(rows).__name__} of {type(many[0]).__name__}.",
            expected="a row (a dict), or a list of rows",
            todo="Convert them, for example by frame.to_dict('records') or frame.to_dicts().",
        )
    if not many:
        raise InvalidInput("There are no rows.", expected="a row, or a list of rows", todo="Send at least one.")
    plain = [{name: _plain(value) for name, value in row.items()} for row in many]
    return msgspec.json.encode({"rows": plain}), len(many)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, float):
        if value in (math.inf, -math.inf):
            raise InvalidInput("A row holds an infinite number.", expected="finite numbers or None", todo="Correct it.")
        return None if value != value else float(value)
    if isinstance(value, datetime | date):
        return None if value != value else value.isoformat()
    if type(value).__name__ == "datetime64":
        return _plain(value.astype("datetime64[us]").item())
    item = getattr(value, "item", None)
    if callable(item):
        return _plain(item())
    raise InvalidInput(
        f"A row holds {value!r}, a {type(value).__name__}.",
        expected="numbers, texts, truth values, moments or None",
        todo="Convert it.",
    )


def read_reply(status: int, content: bytes) -> Answer:
    """The answer in a reply.

    Raises:
        HeadraceError: the one that the server sent, by its kind.
        Unavailable: something that is no scoring server answered.
    """
    if status == 200:
        try:
            return _answer.decode(content)
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"What answers is no scoring server: {error}.", todo="Correct the address of the client."
            ) from error
    raise refusal(status, content)


def refusal(status: int, content: bytes) -> HeadraceError:
    """The error that a reply means."""
    try:
        document = msgspec.json.decode(content)
        return rebuilt(document)
    except (msgspec.MsgspecError, KeyError, TypeError):
        text = f"The server replied {status}: {content[:200].decode(errors='replace')}"
    if status == 429:
        return Overloaded(text, todo="Send fewer requests at a time.")
    todo = "See that the server, and what stands before it, are well."
    return Unavailable(text, todo=todo) if status in RETRIED else Fault(text, todo=todo)


def fallback_answer(model: str, rows: int, declared: Any) -> Answer:
    """The declared answer, for each row."""
    one = declared if isinstance(declared, Prediction) else Prediction(declared)
    return Answer(model=model, version=0, id="", predictions=(one,) * rows, fallback=True)
