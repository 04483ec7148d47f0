"""Whether a body is framed as an Arrow stream or a Parquet file at all, told before a library reads it.

A reader believes the sizes that it finds: a body of a few bytes can make it ask for gigabytes, and polars keeps a
thousand bytes of each that it cannot read. Here only the frame is walked: the messages of a stream (Arrow columnar
format, "Encapsulated message format", metadata in FlatBuffers), the footer of a file (Parquet format).
"""

from __future__ import annotations

import struct

CONTINUATION = b"\xff\xff\xff\xff"
SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
HEADER_TYPE, BODY_LENGTH = 1, 3
"""Places of two fields in the table ``Message``."""


def is_arrow_stream(content: bytes) -> bool:
    """Whether `content` is whole messages, a schema first, each as long as it says; an end mark may be missing."""
    at, kinds = 0, []
    try:
        while at < len(content):
            at += 4 if content[at : at + 4] == CONTINUATION else 0
            (length,) = struct.unpack_from("<i", content, at)
            at += 4
            if length == 0:
                break
            if length < 0 or at + length > len(content):
                return False
            kind, body = _message(content[at : at + length])
            kinds.append(kind)
            at += length + body
            if body < 0 or at > len(content):
                return False
    except struct.error:
        return False
    return bool(kinds) and kinds[0] == SCHEMA and all(kind in (DICTIONARY, RECORDS) for kind in kinds[1:])


def _message(metadata: bytes) -> tuple[int, int]:
    """The kind of a message, and the length of its body."""
    (root,) = struct.unpack_from("<I", metadata, 0)
    (back,) = struct.unpack_from("<i", metadata, root)
    kind = _field(metadata, root, root - back, HEADER_TYPE)
    body = _field(metadata, root, root - back, BODY_LENGTH)
    return (
        metadata[kind] if kind is not None else 0,
        struct.unpack_from("<q", metadata, body)[0] if body is not None else 0,
    )


def _field(metadata: bytes, table: int, layout: int, place: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None where it has its default."""
    if layout < 0:
        raise struct.error("a layout before the beginning")
    (size,) = struct.unpack_from("<H", metadata, layout)
    if size < 4 + 2 * (place + 1):
        return None
    (offset,) = struct.unpack_from("<H", metadata, layout + 4 + 2 * place)
    if offset and table + offset >= len(metadata):
        raise struct.error("a field past the end")
    return table + offset if offset else None


def is_parquet_file(content: bytes) -> bool:
    """Whether `content` begins and ends as a Parquet file, with a footer of a length that is there."""
    if len(content) < 12 or content[:4] != b"PAR1" or content[-4:] != b"PAR1":
        return False
    (footer,) = struct.unpack_from("<i", content, len(content) - 8)
    return 0 < footer <= len(content) - 12
