"""Sizes of memory and files, as people write them."""

from __future__ import annotations

import re

from headrace.kernel.errors import InvalidInput

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?B?)\Z", re.IGNORECASE)


def parse_size(text: str) -> int:
    """``"32MB"``, ``"4 GB"`` or ``"1000"`` in bytes; a unit is 1,024 of the one below it.

    Raises:
        InvalidInput: another text.
    """
    found = _SIZE.match(text.strip())
    unit = found[2].upper() if found else ""
    unit = unit if unit.endswith("B") or not unit else f"{unit}B"
    if found is None or unit not in _UNITS:
        raise InvalidInput(
            f"{text!r} is not a size.",
            expected="a number and one of B, KB, MB, GB, TB, such as 32MB",
            todo="Correct it.",
        )
    return int(float(found[1]) * _UNITS[unit])
