"""The verbs about a project as a whole: write one, hold it against the workspace, bring it in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from headrace.delivery.pipelines import SYSTEMS, pipeline
from headrace.entrypoints.cli.verb import Call, out, verb
from headrace.kernel.errors import Conflict, StorageUnavailable
from headrace.kernel.identifiers import check_name
from headrace.kernel.objects import write_whole
from headrace.kernel.release import VERSION
from headrace.training.applying import Change
from headrace.training.project import FILE, read_project

IGNORED = ".headrace/\n__pycache__/\n"
EXAMPLES = Path(__file__).parents[2] / "examples"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--example", type=click.Choice(["starter", "flights"]), default="starter", show_default=True)
@click.option("--ci", type=click.Choice(list(SYSTEMS)), help="Write a pipeline too; alone where a project is there.")
@verb
def init(call: Call, directory: Path, example: str, ci: str | None) -> None:
    """Write a project that runs: headrace.toml and plain functions.

    With --ci also a pipeline that checks each change beside what is live, makes a version when it is merged, and puts
    it on its targets when a person says so.
    """
    written = [] if ci and (directory / FILE).exists() else write_project(directory, example)
    written += write_pipeline(directory, ci) if ci else []

    def show() -> None:
        out.print(f"{directory}: {', '.join(written)}", markup=False, soft_wrap=True)
        out.print(f"  next: cd {directory} && headrace run", markup=False, soft_wrap=True)

    call.answer({"directory": str(directory), "files": written}, show)


def write_pipeline(directory: Path, system: str) -> list[str]:
    """Write a pipeline of a project, and what it installs where nothing says so yet; gives what was written.

    Raises:
        Conflict: there is a pipeline. InvalidProject: headrace.toml is wrong.
    """
    made = pipeline(system, read_project(directory), f"{sys.version_info.major}.{sys.version_info.minor}")
    if (directory / made.path).exists():
        raise Conflict(
            f"{directory / made.path} is there.", expected="no pipeline yet", todo="Move it away, and compare them."
        )
    wanted = {made.path: made.text}
    if not (directory / "requirements.txt").exists():
        wanted["requirements.txt"] = f"headrace=={VERSION}\n"
    for name, text in wanted.items():
        write_whole(directory / name, text.encode())
    return list(wanted)


def write_project(directory: Path, example: str) -> list[str]:
    """Copy an example to `directory`, which must be new or empty; gives the files.

    Raises:
        Conflict: something stands there. StorageUnavailable: it cannot be written.
    """
    check_name(example, "example")
    if directory.exists() and any(directory.iterdir()):
        raise Conflict(f"{directory} is not empty.", expected="a new or empty folder", todo="Name another folder.")
    try:
        shutil.copytree(EXAMPLES / example, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        if not (directory / ".gitignore").exists():
            (directory / ".gitignore").write_text(IGNORED)
    except (OSError, shutil.Error) as error:
        raise StorageUnavailable(
            f"The project could not be written to {directory}: {error}.", todo="See that the folder may be written."
        ) from error
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


PROJECT = click.option("--project", type=click.Path(path_type=Path), default=Path(), help="The folder.  [default: .]")


@click.command()
@PROJECT
@click.option("--check", is_flag=True, help="Exit code 1 where anything would change.")
@verb
def plan(call: Call, project: Path, check: bool) -> int:
    """Hold headrace.toml and its code against what the workspace keeps of them: what 'headrace apply' would change."""
    found = call.workspace.plan(project)
    call.answer(found, lambda: show_changes(found, "nothing would change"))
    return 1 if found and check else 0


@click.command()
@PROJECT
@verb
def apply(call: Call, project: Path) -> None:
    """Bring headrace.toml and its code into the workspace, without a run.

    Schedules, alarms, rollouts, deployments and the next retraining go by what was applied, or by the last run.
    """
    found = call.workspace.apply(project)
    call.answer(found, lambda: show_changes(found, "nothing was changed"))


def show_changes(found: list[Change], nothing: str) -> None:
    """Print changes as lines."""
    for one in found:
        before = f"{one.before or 'not set'} -> {one.after or 'not set'}"
        out.print(f"{one.model}  {one.what}: {before}", markup=False, soft_wrap=True)
    if not found:
        out.print(nothing)
