"""What all verbs share: --workspace, --json, errors as people and programs need them, tables."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

import headrace
from headrace.entrypoints.outcomes import OUTCOMES
from headrace.kernel.errors import Fault, HeadraceError, StorageUnavailable

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Call:
    """One call of a verb: where it works, and how it answers."""

    def __init__(self, workspace: str | None, as_json: bool) -> None:
        self.location = workspace
        self.as_json = as_json
        self._kept: int | None = None

    @functools.cached_property
    def workspace(self) -> Any:
        """The workspace, opened at first use."""
        return headrace.open(self.location)

    def keep_output(self) -> None:
        """Keep standard output for the one document, and send what anything else prints to standard error.

        A model may print whenever it is loaded or asked; that must neither spoil the document nor fill a pipe that
        nobody reads any more.
        """
        self._kept = os.dup(1)
        os.dup2(2, 1)

    def write(self, text: str) -> None:
        """Write to standard output; the last thing that is written there once it was kept."""
        if self._kept is None:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        os.write(self._kept, text.encode())
        os.close(self._kept)
        self._kept = None

    def answer(self, document: Any, show: Callable[[], Any]) -> None:
        """The one JSON document on standard output, or what `show` prints for people."""
        if self.as_json:
            self.write(msgspec.json.encode(document, enc_hook=str).decode() + "\n")
        else:
            show()


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --workspace and --json, and turn errors into a message and an exit code.

    The function gets a `Call` and its own arguments; what it returns, if anything, is the exit code.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.option("--workspace", "here", metavar="FOLDER", help="The workspace.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, as_json: bool, here: str | None, **arguments: Any) -> None:
        call = Call(here or (ctx.obj or {}).get("workspace"), as_json)
        try:
            code = function(call, **arguments)
        except HeadraceError as error:
            ctx.exit(_fail(call, error))
        except OSError as error:
            ctx.exit(_fail(call, _storage(error)))
        except KeyboardInterrupt:
            err.print("\ninterrupted")
            ctx.exit(130)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            ctx.exit(_fail(call, _fault(error)))
        ctx.exit(code or 0)

    return wrapped


def _fault(error: Exception) -> HeadraceError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return Fault(f"{type(error).__name__}: {error} ({where}).", todo="This is a fault of Headrace: please report it.")


def _storage(error: OSError) -> HeadraceError:
    place = f" {error.filename}" if error.filename else ""
    return StorageUnavailable(
        f"A file could not be used:{place}: {error.strerror or error}.",
        todo="See that the disk has room and that the folder may be written.",
    )


def _fail(call: Call, error: HeadraceError) -> int:
    if call.as_json:
        call.write(msgspec.json.encode(error.document()).decode() + "\n")
    else:
        err.print(f"[bold red]error:[/] {_plain(error.text)}", soft_wrap=True)
        if error.expected:
            err.print(f"  expected: {_plain(error.expected)}", soft_wrap=True)
        if error.todo:
            err.print(f"  to do: {_plain(error.todo)}", soft_wrap=True)
    return OUTCOMES[error.kind].exit_code


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table."""
    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(_plain("" if cell is None else str(cell)) for cell in row))
    out.print(drawn)


def metric_text(metrics: dict[str, Any], most: int = 3) -> str:
    """The first metrics with their intervals, in one line."""
    shown = list(metrics.items())[:most]
    return ", ".join(f"{name} {m.value:.4f} ({m.low:.4f} to {m.high:.4f})" for name, m in shown)
