"""JSON as other servers read it: ``NaN`` and ``Infinity`` are numbers there, and NaN stands for null."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from headrace.kernel.errors import InvalidInput, TooLarge
from headrace.serving.counting import MOST_VALUES, refuse_many, values_in
from headrace.serving.decoding import each_once

_decode = msgspec.json.Decoder().decode


def loose_json(content: bytes, most_rows: int | None = None) -> Any:
    """The value in a body, which may hold `most_rows` rows.

    Raises:
        InvalidInput: it is not JSON, nested too deeply, names a field twice, or holds half a character.
        TooLarge: it holds too many values or rows.
    """
    if values_in(content) > MOST_VALUES:
        raise TooLarge(
            f"The body holds more than {MOST_VALUES} values.",
            todo="Send fewer rows at a time, one table in Arrow, or the native form; or score a file.",
        )
    if most_rows is not None:
        refuse_many(content, most_rows)
    reason = ""
    try:
        value = _decode(content)
        if content.count(b":") == _names(value):
            return value
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)  # the error itself would hold its frame, and the body with it
    except RecursionError as error:
        raise _too_deep() from error
    try:
        value = json.loads(content, object_pairs_hook=each_once)
        if reason:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise InvalidInput(
            f"The body is not JSON: {reason or error}.", expected="a JSON object", todo="Send one."
        ) from error
    return value


def _names(value: Any) -> int:
    """The number of names in objects; some of those within lists of mixed values may be left out.

    Every name is followed by a colon: where there are as many colons as names, none was there twice.
    """
    if isinstance(value, dict):
        return len(value) + sum(_names(inner) for inner in value.values() if isinstance(inner, dict | list))
    if value and isinstance(value, list) and isinstance(value[0], dict | list):
        return sum(_names(inner) for inner in value if isinstance(inner, dict | list))
    return 0


def _too_deep() -> InvalidInput:
    return InvalidInput(
        "The body is nested too deeply.", expected="lists and objects of plain values", todo="Send such an object."
    )
