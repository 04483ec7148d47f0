"""What a pickle would import, read off its opcodes without running one of them."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any

_LOOKED_AT = 200_000
_FIRST = frozenset(b"(c]}idlINFLJKMGVSUXTBCjghprtqbu0129.)\x80\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x94\x95\x96\x8f")


def is_pickle(content: bytes) -> bool:
    """Whether `content` may be opened as a pickle: it names a protocol, or its opcodes reach an import or its end."""
    if content[:1] == b"\x80" and len(content) > 1 and content[1] <= 5:
        return True
    if not content or content[0] not in _FIRST:
        return False
    return any(name in ("GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "STOP") for name, _ in _opcodes(content))


def imported_names(content: bytes) -> list[str]:
    """The names that opening the pickle would import, in order, as far as its opcodes can be read."""
    found: set[str] = set()
    memo: dict[int, str] = {}
    texts: list[str] = []
    for name, argument in _opcodes(content):
        if name in ("GLOBAL", "INST"):
            found.add(str(argument).replace(" ", "."))
        elif name == "STACK_GLOBAL":
            found.add(".".join(texts[-2:]))
        elif (isinstance(argument, str) and "UNICODE" in name) or name in ("STRING", "SHORT_BINSTRING", "BINSTRING"):
            texts.append(str(argument))
        elif name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else ""
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = texts[-1] if texts else ""
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(argument), ""))
    return sorted(found)


def _opcodes(content: bytes) -> Iterator[tuple[str, Any]]:
    try:
        for count, (opcode, argument, _place) in enumerate(pickletools.genops(content)):
            yield opcode.name, argument
            if count > _LOOKED_AT:
                return
    except (ValueError, OverflowError, UnicodeDecodeError, MemoryError):
        return  # joblib writes arrays between opcodes: what was read so far stands
