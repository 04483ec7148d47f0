"""Objects in storage: one, all below a prefix, or what a glob finds; each is fetched as it was when it was found."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from headrace.batch.origins.files import no_files
from headrace.batch.origins.found import Found, partition_of
from headrace.batch.sources import FORMATS, ending, format_of, write_pieces
from headrace.batch.storage import WILD, Bucket, Object, matching, split_url
from headrace.kernel.errors import NothingThere


def find_objects(url: str) -> list[Found]:
    """The objects of a source in the order of their paths.

    Raises:
        InvalidInput: there is none, or one whose ending is unknown.
        StorageUnavailable: storage cannot be reached.
    """
    wild = WILD.search(url)
    base = url[: wild.start()].rpartition("/")[0] if wild else url
    if not wild and PurePosixPath(url).suffix:
        folder, name = split_url(url)
        bucket = Bucket(folder)
        one = bucket.head(name)
        if one is not None:
            format_of(Path(name))
            return [_found(bucket, one, name)]
    bucket = Bucket(base)
    objects = [one for one in bucket.list() if not _hidden(one.path)]
    if wild:
        objects = matching(url[len(base) + 1 :], objects)
    objects = [one for one in objects if wild or ending(Path(one.path))[0] in FORMATS]
    if not objects:
        raise no_files(url) if not wild else _nothing(url)
    for one in objects:
        format_of(Path(one.path))
    return [_found(bucket, one, one.path) for one in objects]


def _found(bucket: Bucket, one: Object, name: str) -> Found:
    origin = (f"{bucket.url}/{one.path}", one.size, zlib.crc32(one.tag.encode()))
    path = Path(PurePosixPath(one.path).name)
    return Found(name, path, origin, _fetcher(bucket, one), partition_of(f"{bucket.url}/{one.path}"))


def _fetcher(bucket: Bucket, one: Object) -> Callable[[Path], None]:
    return lambda place: write_pieces(bucket.pieces(one), place, f"{bucket.url}/{one.path}", None)


def _nothing(url: str) -> NothingThere:
    return NothingThere(
        f"There is nothing at {url!r}.",
        field="source",
        expected="an object, a prefix with objects, or a glob that finds some",
        todo="Correct the source.",
    )


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(path).parts)
