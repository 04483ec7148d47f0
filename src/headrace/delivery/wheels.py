"""The packages of an image as wheels, each of a known hash, and as the files that Python finds.

pip fetches them from whichever index it is set up for. What an image of a compiled version needs is locked with hashes
by this release (`scoring.txt`). A version that is not compiled needs the packages that it was trained with, of the
versions that were recorded then; they take the place of those in the lock.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from packaging.requirements import Requirement

from headrace.kernel.digests import digest_file
from headrace.kernel.errors import InvalidInput, MissingExtra, Unavailable
from headrace.registry.environment import normal

LOCK = Path(__file__).with_name("scoring.txt")
FOLLOWING = LOCK.with_name("following.txt")
"""The same for an image that follows a route document."""
GLIBC = ("2_17", "2_27", "2_28", "2_31", "2_34", "2_35")
"""The releases of the C library for which wheels are taken; Debian 12 and what is newer have later ones."""
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
LEFT_OUT = re.compile(r"(^|/)(tests?|__pycache__|include)/|\.pyi$")
"""Files of packages that no program needs."""


class Wheel(NamedTuple):
    """A wheel that was fetched; `digest` is its SHA-256."""

    name: str
    version: str
    digest: str
    path: Path


def fetched(pins: Sequence[str], python: str, platform: str, folder: Path, lock: Path = LOCK) -> list[Wheel]:
    """The wheels of an image, in `folder`.

    Args:
        lock: what is always in it.
        pins: packages of a version that is not compiled, as ``name==version``.
        python: the release of Python in the image, as ``3.11``.
        platform: ``linux/amd64`` or ``linux/arm64``.

    Raises:
        InvalidInput: there is no such platform.
        MissingExtra: pip is not installed here.
        Unavailable: pip could not get them.
    """
    _need_platform(platform)
    folder.mkdir(parents=True, exist_ok=True)
    own = {normal(pin.partition("==")[0]) for pin in pins}
    locked = folder / "locked.txt"
    locked.write_text("".join(_locked(lock.read_text(), python, platform, own)))
    _download(["--require-hashes", "-r", str(locked)], python, platform, folder)
    locked.unlink()
    if pins:
        _download([*pins], python, platform, folder)
    return [_wheel(path) for path in sorted(folder.glob("*.whl"))]


def fetched_exactly(pins: Sequence[str], python: str, platform: str, folder: Path) -> list[Wheel]:
    """The wheels of these packages and no others, in `folder`; what is raised is as of `fetched`."""
    _need_platform(platform)
    folder.mkdir(parents=True, exist_ok=True)
    _download([*pins], python, platform, folder)
    return [_wheel(path) for path in sorted(folder.glob("*.whl"))]


def _need_platform(platform: str) -> None:
    if platform not in MACHINES:
        raise InvalidInput(
            f"{platform!r} is no platform of images.",
            field="platform",
            expected=" or ".join(MACHINES),
            todo="Name one of these.",
        )


def _locked(lock: str, python: str, platform: str, without: set[str]) -> Iterator[str]:
    """The lines of a lock that are for a platform, but for some packages; pip would ask after this machine instead."""
    around = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    around |= {"platform_machine": MACHINES[platform], "platform_system": "Linux", "os_name": "posix"}
    around |= {"platform_python_implementation": "CPython", "implementation_name": "cpython"}
    taken = False
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            wanted = Requirement(line.strip().removesuffix("\\"))
            taken = normal(wanted.name) not in without and (wanted.marker is None or wanted.marker.evaluate(around))
            line = f"{wanted.name}{wanted.specifier} \\\n"
        if taken and not line.lstrip().startswith("#"):
            yield line


def _download(what: list[str], python: str, platform: str, folder: Path) -> None:
    tags = [f"manylinux_{release}_{MACHINES[platform]}" for release in GLIBC]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for tag in (*tags, f"manylinux2014_{MACHINES[platform]}") for word in ("--platform", tag)]
    done = subprocess.run([*command, "--dest", str(folder), *what], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingExtra("pip is not installed here.", todo="Install it: python -m ensurepip.")
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
    raise Unavailable(
        f"pip could not get the packages of an image for Python {python} on {platform}: {' '.join(lines)}",
        todo="See that pip reaches its index, and that the packages have wheels for this platform.",
    )


def _wheel(path: Path) -> Wheel:
    name, version = path.name.split("-")[:2]
    return Wheel(normal(name), version, digest_file(path), path)


def unpacked(wheels: Sequence[Wheel], site: Path) -> None:
    """Write the files of wheels where Python finds them (binary distribution format, PEP 427).

    Raises:
        Unavailable: a wheel names a file outside of itself.
    """
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            for member in archive.infolist():
                place = _place(member.filename)
                if member.is_dir() or place is None or LEFT_OUT.search(place):
                    continue
                if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
                    raise Unavailable(
                        f"The wheel of {wheel.name} names the file {member.filename!r}, which lies outside of it.",
                        todo="Do not use it; see which index pip asks.",
                    )
                target = site / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)


def _place(name: str) -> str | None:
    """Where a file of a wheel belongs beside the others; None for programs, headers and data."""
    parts = name.split("/")
    if not parts[0].endswith(".data"):
        return name
    return "/".join(parts[2:]) if len(parts) > 2 and parts[1] in ("purelib", "platlib") else None
