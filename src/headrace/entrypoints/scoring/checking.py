"""Opens a bundle and loads what a server loads, and ends: whether what is installed here can score it.

python -m headrace.entrypoints.scoring.checking FOLDER DIGEST NEEDED
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from headrace.kernel.errors import HeadraceError, MissingExtra
from headrace.runtimes.bundle import verify_bundle
from headrace.runtimes.opening import open_bundle


def check(folder: Path, digest: str, needed: Path) -> None:
    """See that a bundle can be scored here.

    Args:
        needed: a file of what must be there, one ``name==version`` a line; Python is one of them.

    Raises:
        NotTrusted: it is not the one that was registered.
        MissingExtra: Python or a package is not that of training.
    """
    manifest = verify_bundle(folder, digest)
    for line in needed.read_text().split():
        name, _, expected = line.partition("==")
        found = _installed(name)
        if found != expected:
            raise MissingExtra(
                f"{manifest.name}@{manifest.version} was trained with {name} {expected}; here is {found or 'none'}.",
                expected=f"{name} {expected}",
                todo="Build its image on a base image with this Python: --base.",
            )
    open_bundle(folder, digest)


def _installed(name: str) -> str | None:
    if name == "python":
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def main(words: list[str]) -> NoReturn:
    """Check, and end with 0, or with 1 and the reason."""
    try:
        importlib.import_module("headrace.entrypoints.cli.serve")
        check(Path(words[0]), words[1], Path(words[2]))
    except HeadraceError as error:
        sys.exit(f"{error.text} {error.todo}")
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
