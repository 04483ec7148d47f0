"""Reading Parquet from strangers, in a process of its own: ``python -m headrace.entrypoints.scoring.parquet_reader``.

A damaged file can make a Parquet library ask for more memory than there is, which ends its process and not only its
call. So the scoring process hands each body to a reader and gets an Arrow stream back; where the reader ends, one
request is refused and the next gets a new reader.
"""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import IO

from headrace.kernel.errors import InvalidInput

SECONDS = 60.0
_LENGTH = struct.Struct("<q")


class ParquetReader:
    """The reader of a scoring process, started when the first body comes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._end: Callable[[], object] = lambda: None

    def read(self, content: bytes) -> bytes:
        """The table in a Parquet file as an Arrow IPC stream.

        Raises:
            InvalidInput: it cannot be read.
        """
        with self._lock:
            process = self._alive()
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                _send(process.stdin, content)
                good, answer = _receive(process.stdout), _receive(process.stdout)
            except (OSError, EOFError) as error:
                self.close()
                raise InvalidInput(
                    "The body is not Parquet: reading it took more memory or time than there is.",
                    expected="a whole Parquet file",
                    todo="Write the file again, or send an Arrow stream.",
                ) from error
            finally:
                timer.cancel()
        if not good:
            raise InvalidInput(f"The body is not Parquet: {answer.decode()}.", todo="Send it in that format.")
        return answer

    def close(self) -> None:
        """End the reader; the next body gets a new one."""
        self._end()
        self._process = None

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._end = weakref.finalize(self, _end, self._process)
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(OSError), process:  # closes its pipes, and waits
        pass


def _send(stream: IO[bytes] | None, content: bytes) -> None:
    assert stream is not None
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def main() -> None:
    """Answer until there is nobody to ask."""
    import polars as pl

    asking, answering = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            content = _receive(asking)
        except EOFError:
            return
        try:
            written = io.BytesIO()
            pl.read_parquet(io.BytesIO(content)).write_ipc_stream(written)
            good, answer = b"1", written.getvalue()
        except BaseException as error:  # polars panics with what is no Exception
            good, answer = b"", (str(error).splitlines() or [type(error).__name__])[0].encode()
        _send(answering, good)
        _send(answering, answer)


if __name__ == "__main__":
    main()
