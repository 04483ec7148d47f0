"""Files that people send, piece by piece: what arrived stays, and the next piece goes on there."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from headrace.batch.sources import format_of
from headrace.kernel.errors import Conflict, InvalidInput, NotFound, Overloaded, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places
from headrace.kernel.records import Record

PREFIX = "upload:"
_ID = re.compile(r"[0-9a-f-]{36}\Z")
LARGEST = 1 << 40


class Upload(Record, frozen=True, kw_only=True):
    """A file of `size` bytes called `name`, of which `offset` arrived."""

    id: str
    name: str
    size: int
    who: str
    offset: int = 0

    @property
    def source(self) -> str:
        """How a job names it."""
        return f"{PREFIX}{self.id}/{self.name}"


class Uploads:
    """The files that were sent to a workspace.

    Args:
        most: the bytes that all files of one caller may have, as they were announced.
    """

    def __init__(self, places: Places, most: int = LARGEST) -> None:
        self._places = places
        self._most = most

    def begin(self, name: str, size: int, who: str) -> Upload:
        """A new file, of which nothing arrived yet.

        Raises:
            InvalidInput: its name or its size cannot be.
            Overloaded: the files of `who` would have too many bytes together.
        """
        plain = Path(name.replace("\\", "/")).name
        if not plain or plain.startswith(".") or not plain.isprintable() or len(plain.encode()) > 120:
            raise InvalidInput(f"{name[:80]!r} is no name of a file.", field="name", todo="Send it under another name.")
        if not 0 < size <= LARGEST:
            raise InvalidInput(f"A file of {size} bytes cannot be sent.", field="size", todo="Send one with rows.")
        format_of(Path(plain))
        self._need_room(size, who)
        upload = Upload(id=new_id(), name=plain, size=size, who=who)
        self._places.objects.put(self._folder(upload.id) / "upload.json", msgspec.json.encode(upload))
        return upload

    def get(self, upload: str) -> Upload:
        """A file that is sent, and how much of it arrived.

        Raises:
            NotFound: there is none.
        """
        note = self._places.objects.need(self._folder(upload) / "upload.json")
        if not note.exists():
            raise NotFound(f"There is no upload {upload!r}.", todo="Begin one: POST /api/uploads.")
        found = msgspec.json.decode(note.read_bytes(), type=Upload)
        whole = self._places.objects.need(self._folder(upload) / found.name)
        draft = self._folder(upload) / "arriving"
        with suppress(FileNotFoundError):
            return msgspec.structs.replace(found, offset=whole.stat().st_size)
        with suppress(FileNotFoundError):
            return msgspec.structs.replace(found, offset=draft.stat().st_size)
        return found

    def add(self, upload: str, offset: int, piece: bytes) -> Upload:
        """The next piece of a file; with its last one the file is there.

        Raises:
            Conflict: it does not begin where the last one ended.
            InvalidInput: there is more than was said.
            StorageUnavailable: there is no room; what arrived before stays.
        """
        found = self.get(upload)
        if offset != found.offset:
            raise Conflict(
                f"The piece begins at byte {offset}, and {found.offset} bytes of {found.name} arrived.",
                field="offset",
                expected=str(found.offset),
                todo="Ask how much arrived (HEAD), and go on there.",
            )
        if offset + len(piece) > found.size:
            raise InvalidInput(f"{found.name} has more than {found.size} bytes.", field="size", todo="Begin it anew.")
        draft = self._folder(upload) / "arriving"
        try:
            with draft.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_size != offset:
                    raise Conflict("Another piece of the file arrives.", todo="Ask how much arrived, and go on there.")
                try:
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(offset)
                    raise
            if offset + len(piece) == found.size:
                draft.rename(self._folder(upload) / found.name)
                self._places.objects.share(self._folder(upload))
        except OSError as error:
            raise StorageUnavailable(
                f"{found.name} could not be kept: {error.strerror or error}.",
                todo="See that the disk has room, then send this piece again.",
            ) from error
        return msgspec.structs.replace(found, offset=offset + len(piece))

    def discard(self, upload: str) -> None:
        """Remove a file that was sent."""
        self.get(upload)
        self._places.objects.discard(self._folder(upload))

    def path(self, source: str) -> Path:
        """Where a file lies that was sent, by what a job calls it.

        Raises:
            NotFound: it is not there whole.
        """
        upload, _, _name = source.removeprefix(PREFIX).partition("/")
        found = self.get(upload)
        if found.offset != found.size:
            raise NotFound(
                f"Of {found.name} {found.offset} of {found.size} bytes arrived.", todo="Send the rest of it first."
            )
        return self._folder(upload) / found.name

    def _need_room(self, size: int, who: str) -> None:
        theirs: list[int] = []
        for folder in self._places.objects.children(self._places.uploads):
            with suppress(NotFound):  # discarded meanwhile
                one = self.get(folder.name)
                theirs += [one.size] if one.who == who else []
        if sum(theirs) + size > self._most:
            raise Overloaded(
                f"{len(theirs)} files of {who} have {sum(theirs):,} bytes, and this one {size:,}.",
                expected=f"at most {self._most:,} together (HEADRACE_UPLOADS_EACH)",
                todo="Discard some: DELETE /api/uploads/{id}. Those of old jobs are freed by themselves.",
            )

    def _folder(self, upload: str) -> Path:
        if not _ID.match(upload):
            raise NotFound(f"There is no upload {upload[:80]!r}.", todo="Begin one: POST /api/uploads.")
        return self._places.uploads / upload


def located(places: Places, source: str) -> str:
    """Where a source lies: a path, a folder, a glob, or a file that was sent.

    Raises:
        NotFound: the file was not sent, or not whole.
    """
    return str(Uploads(places).path(source)) if source.startswith(PREFIX) else source
