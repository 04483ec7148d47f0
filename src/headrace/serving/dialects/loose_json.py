"""JSON as other servers read it: ``NaN`` and ``Infinity`` are numbers there, and NaN stands for null."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from headrace.kernel.errors import InvalidInput, TooLarge
from headrace.serving.decoding import MOST_VALUES, values_in

_decode = msgspec.json.Decoder().decode


def loose_json(content: bytes) -> Any:
    """The value in a body.

    Raises:
        InvalidInput: it is not JSON, or nested too deeply.
        TooLarge: it holds too many values.
    """
    if values_in(content) > MOST_VALUES:
        raise TooLarge(
            f"The body holds more than {MOST_VALUES} values.",
            todo="Send fewer rows at a time, one table in Arrow, or the native form; or score a file.",
        )
    try:
        return _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason: Exception = error
    except RecursionError as error:
        raise _too_deep() from error
    try:
        return json.loads(content)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {reason}.", expected="a JSON object", todo="Send one.") from error


def _too_deep() -> InvalidInput:
    return InvalidInput(
        "The body is nested too deeply.", expected="lists and objects of plain values", todo="Send such an object."
    )
