"""How a text of rows is written: its delimiter, quotation mark, encoding and header, found out or told."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Record

DELIMITERS = ",;\t|"
SAMPLE = 1 << 18
"""How many bytes are looked at to find a delimiter."""
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class Dialect(Record, frozen=True, kw_only=True):
    """`quote` is empty where nothing is quoted; `header` says whether the first record names the columns."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True


class Wanted(Record, frozen=True, kw_only=True):
    """What the caller says of a text; what is None is found out."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool = True


def find_dialect(start: bytes, wanted: Wanted, name: str) -> tuple[Dialect, int]:
    """The dialect of a text that begins with these bytes, and the length of its byte order mark.

    Raises:
        InvalidInput: an option that cannot be one, or a text that is not in the encoding.
    """
    mark = next((mark for mark in BYTE_ORDER_MARKS if start.startswith(mark)), b"")
    encoding = BYTE_ORDER_MARKS[mark] if mark else _known_encoding(wanted.encoding or "utf-8")
    delimiter, quote = wanted.delimiter, '"' if wanted.quote is None else wanted.quote
    for what, value, least in (("delimiter", delimiter, 1), ("quote", quote, 0)):
        if value is not None and not (least <= len(value) <= 1 and value.isascii() and value not in "\r\n"):
            raise InvalidInput(
                f"{value!r} cannot be a {what}.", field=what, expected="one ASCII character", todo="Name another one."
            )
    if delimiter is None:
        text = "".join(decoded(iter([start[len(mark) :]]), encoding, name, whole=False))
        delimiter = _likeliest(text, quote)
    return Dialect(delimiter=delimiter, quote=quote, encoding=encoding, header=wanted.header), len(mark)


def _known_encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
        if not found._is_text_encoding:  # pyright: ignore[reportAttributeAccessIssue]
            raise LookupError(name)
        return found.name
    except (LookupError, ValueError) as error:
        raise InvalidInput(
            f"{name!r} is no encoding that is known.",
            field="encoding",
            expected="a name such as utf-8, latin-1, cp1252 or utf-16",
            todo="Name another one.",
        ) from error


def _likeliest(text: str, quote: str) -> str:
    """The delimiter that stands most often, and equally often, in the first lines; a comma where none does."""
    lines = [line for line in text.splitlines()[:50] if line]
    best, most = ",", 0
    for delimiter in DELIMITERS:
        counts = [_outside(line, delimiter, quote) for line in lines]
        alike = sum(count == counts[0] for count in counts) if counts and counts[0] else 0
        if alike * (counts[0] if counts else 0) > most and 2 * alike >= len(counts):
            best, most = delimiter, alike * counts[0]
    return best


def _outside(line: str, delimiter: str, quote: str) -> int:
    return sum(part.count(delimiter) for part in line.split(quote)[::2]) if quote else line.count(delimiter)


def decoded(pieces: Iterator[bytes], encoding: str, name: str, *, whole: bool = True) -> Iterator[str]:
    """The text of the pieces of a file.

    Args:
        whole: whether the last piece is the end of the file, which may not end within a character.

    Raises:
        InvalidInput: it is not in this encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    try:
        for piece in pieces:
            yield decoder.decode(piece)
            done += len(piece)
        if whole:
            yield decoder.decode(b"", final=True)
    except UnicodeError as error:
        place = f" at byte {done + error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise InvalidInput(
            f"{name} is no text in {encoding}: something{place} cannot be part of one.",
            field="encoding",
            expected=f"a text in {encoding}",
            todo="Name its encoding, for example --encoding latin-1.",
        ) from error
