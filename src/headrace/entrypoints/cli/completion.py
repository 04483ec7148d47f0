"""The verb that prints a shell's completion."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion of SHELL; put `eval "$(headrace completion bash)"` into its start-up file."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    sys.stdout.write(found(ctx.find_root().command, {}, "headrace", "_HEADRACE_COMPLETE").source())
