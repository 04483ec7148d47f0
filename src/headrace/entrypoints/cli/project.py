"""The verb that writes a project."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from headrace.entrypoints.cli.verb import Call, out, verb
from headrace.kernel.errors import Conflict, StorageUnavailable
from headrace.kernel.identifiers import check_name

EXAMPLES = Path(__file__).parents[2] / "examples"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(["starter", "flights"]), default="starter", show_default=True)
@verb
def init(call: Call, directory: Path, example: str) -> None:
    """Write a project that runs: headrace.toml and plain functions."""
    write_project(directory, example)
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())

    def show() -> None:
        out.print(f"{directory}: {', '.join(files)}")
        out.print(f"  next: cd {directory} && headrace run")

    call.answer({"directory": str(directory), "files": files}, show)


def write_project(directory: Path, example: str) -> None:
    """Copy an example to `directory`, which must be new or empty.

    Raises:
        Conflict: something stands there. StorageUnavailable: it cannot be written.
    """
    check_name(example, "example")
    if directory.exists() and any(directory.iterdir()):
        raise Conflict(f"{directory} is not empty.", expected="a new or empty folder", todo="Name another folder.")
    try:
        shutil.copytree(EXAMPLES / example, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except (OSError, shutil.Error) as error:
        raise StorageUnavailable(
            f"The project could not be written to {directory}: {error}.", todo="See that the folder may be written."
        ) from error
