"""A project's source as it was, under its digest, so that a run executes what it began with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from headrace.kernel.digests import digest_bytes, digest_value
from headrace.kernel.errors import InvalidProject, NotTrusted, StorageUnavailable
from headrace.kernel.identifiers import new_id

KINDS = {".py", ".toml", ".txt", ".md", ".cfg", ".ini", ".sql", ".yaml", ".yml"}
SKIPPED = {"__pycache__", "node_modules", "build", "dist"}
DEPLOYED = ".deployed"
"""Marks a folder that deployments are written to."""
LARGEST, MOST = 1_000_000, 2_000


def keep_code(root: Path, store: Path) -> str:
    """Copy the source files under `root` into `store` and give their digest.

    Raises:
        InvalidProject: the folder holds too many source files to be a project.
        StorageUnavailable: they cannot be written.
    """
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in _source(root)}
    digest = _digest(files)
    target = store / digest
    if target.exists():
        os.utime(target)  # it counts as new for who frees old ones
        return digest
    draft = store / f"draft-{new_id()}"
    try:
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
        if not target.exists():
            draft.rename(target)
    except OSError as error:
        raise StorageUnavailable(
            f"The project's source could not be kept in {store}: {error.strerror}.",
            todo="See that the disk has room and the folder may be written; nothing was started.",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return digest


def code_digest(root: Path) -> str:
    """The digest that the source files under `root` are kept under.

    Raises:
        InvalidProject: the folder holds too many source files to be a project.
    """
    return _digest({path.relative_to(root).as_posix(): path.read_bytes() for path in _source(root)})


def _digest(files: dict[str, bytes]) -> str:
    return digest_value({name: digest_bytes(content) for name, content in files.items()})


def verify_code(folder: Path, digest: str) -> Path:
    """The kept source, once every file in it is what `digest` stands for.

    Raises:
        NotTrusted: it was altered.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): digest_bytes(path.read_bytes()) for path in paths}
    if digest_value(files) != digest:
        raise NotTrusted(
            f"The kept source {digest[:12]} was altered.", todo="Start the run again from the project: headrace run."
        )
    return folder


def source_digests(root: Path) -> dict[str, str]:
    """The SHA-256 of each source file under `root`, by its path there."""
    return {path.relative_to(root).as_posix(): digest_bytes(path.read_bytes()) for path in _source(root)}


def _holds_source(folder: Path) -> bool:
    """Whether a folder may be source: not what is built or hidden, and not what a deployment wrote."""
    return folder.name not in SKIPPED and not folder.name.startswith(".") and not (folder / DEPLOYED).exists()


def _source(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if _holds_source(Path(folder, name)))
        paths = [Path(folder, name) for name in sorted(names) if Path(name).suffix in KINDS]
        found += [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST]
        if len(found) > MOST:
            raise InvalidProject(
                f"{root} holds more than {MOST} source files.",
                expected="the folder of one project",
                todo="Put headrace.toml into a folder of its own beside the project's functions.",
            )
    return found


def commit_of(root: Path) -> str:
    """The git commit of a project, with ``+`` where files differ from it; empty outside git."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return f"{head}+" if _git(root, "status", "--porcelain", "--", ".") else head
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)  # noqa: S607
    return done.stdout.strip()
