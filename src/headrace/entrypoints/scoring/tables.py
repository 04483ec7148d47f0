"""Whole tables on the wire: Arrow IPC streams and Parquet, for callers with many rows.

Polars is loaded when the first one comes."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

from headrace.entrypoints.scoring.framing import is_arrow_stream, is_parquet_file
from headrace.entrypoints.scoring.parquet_reader import ParquetReader
from headrace.kernel.errors import InvalidInput, MissingExtra, TooLarge
from headrace.serving.decoding import Rows
from headrace.serving.dialects.dialect import Answered, Codecs
from headrace.serving.endpoints import Loaded
from headrace.serving.limits import Limits

ARROW = b"application/vnd.apache.arrow.stream"
PARQUET = b"application/vnd.apache.parquet"
FRAMES = "headrace.entrypoints.scoring.table_rows"


def table_codecs(limits: Limits) -> Codecs:
    """The codecs by content type."""
    most = limits.bulk_rows
    return {
        ARROW: TableCodec(ARROW, "an Arrow IPC stream", is_arrow_stream, None, "write_ipc_stream", most),
        PARQUET: TableCodec(PARQUET, "Parquet", is_parquet_file, ParquetReader(), "write_parquet", most),
    }


class TableCodec:
    """One format of tables. See `serving.dialects.dialect.FrameCodec`."""

    def __init__(
        self,
        kind: bytes,
        named: str,
        framed: Callable[[bytes], bool],
        reader: ParquetReader | None,
        writes: str,
        most_rows: int,
    ) -> None:
        self.kind = kind
        self._named = named
        self._framed = framed
        self._reader = reader
        self._writes = writes
        self._most_rows = most_rows

    def decode(self, content: bytes, loaded: Loaded) -> Rows:
        """The rows of a table, as arrays.

        Raises:
            InvalidInput: it is not in this format, or empty.
            TooLarge: it has too many rows.
            SchemaViolation: a column or a value breaks the schema.
        """
        if not self._framed(content):
            raise InvalidInput(f"The body is not {self._named}.", todo="Send it in that format.")
        frames = _frames()
        stream = self._reader.read(content) if self._reader is not None else content
        try:
            frame = frames.pl.read_ipc_stream(io.BytesIO(stream))
        except Exception as error:  # polars raises what its readers' libraries raise
            raise InvalidInput(f"The body is not {self._named}: {error}.", todo="Send it in that format.") from error
        except frames.PanicException as error:
            raise InvalidInput(f"The body is not {self._named}: it is damaged.", todo="Send a whole one.") from error
        if not frame.height:
            raise InvalidInput("The table holds no rows.", expected="at least one", todo="Send some.")
        if frame.height > self._most_rows:
            raise TooLarge(
                f"The table holds {frame.height} rows.",
                expected=f"at most {self._most_rows}",
                todo="Send it in parts, or score a file with 'headrace score'.",
            )
        return frames.rows_of(frame, loaded.schema)

    def encode(self, answered: Answered) -> bytes:
        """The columns `prediction` and, for classifiers, ``probability.<class>``."""
        frame = _frames().answers_of(answered.answers, answered.loaded.scorer.classes)
        written = io.BytesIO()
        getattr(frame, self._writes)(written)
        return written.getvalue()


def _frames() -> Any:
    """The module that turns frames into rows and answers into frames.

    Raises:
        MissingExtra: polars is not installed, as in a process that only scores.
    """
    try:
        return importlib.import_module(FRAMES)
    except ImportError as error:
        raise MissingExtra(
            "Tables need polars, which is not installed.", todo="Install it: pip install polars deltalake."
        ) from error
