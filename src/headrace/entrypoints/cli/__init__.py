"""The command line: `headrace VERB`. Each command is loaded when it is called, so that help is quick."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import click

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo:demo", "Start here", "Run the whole loop on real flights, with a console to look at."),
    "init": ("project:init", "Start here", "Write a project that runs."),
    "doctor": ("doctor:doctor", "Start here", "Say what is installed, what is reachable, and what to do."),
    "plan": ("project:plan", "Make versions", "What 'headrace apply' would change."),
    "apply": ("project:apply", "Make versions", "Bring headrace.toml into the workspace, without a run."),
    "run": ("runs:run", "Make versions", "Run a project's pipeline: snapshot, train, evaluate, register."),
    "register": ("versions:register", "Make versions", "Make a version of a fitted model in a file."),
    "runs": ("runs:runs", "Make versions", "List runs with their parameters and metrics."),
    "diff": ("runs:diff", "Make versions", "Two runs or versions side by side."),
    "models": ("versions:models", "Look at versions", "List the models."),
    "show": ("versions:show", "Look at versions", "A model's versions, or one version with its certificate."),
    "search": ("versions:search", "Look at versions", "Find versions by words and metrics."),
    "lineage": ("versions:lineage", "Look at versions", "Where a version comes from, and where it went."),
    "export": (
        "versions:export",
        "Look at versions",
        "Write a version as a bundle, an MLflow model or an ONNX file.",
    ),
    "test": ("proofs:test", "Look at versions", "Run the tests that a project declares of its model."),
    "prove": ("proofs:prove", "Look at versions", "Make a version again from its records, and compare."),
    "evidence": ("proofs:evidence", "Look at versions", "Write what a version shows for itself."),
    "certify": ("versions:certify", "Look at versions", "Run a version's parity certificate again."),
    "promote": ("versions:promote", "Serve", "Point an alias (live) at a version."),
    "approve": ("versions:approve", "Serve", "Approve a version that another person wants to make live."),
    "rollback": ("versions:rollback", "Serve", "Point live back at the version before."),
    "predict": ("versions:predict", "Serve", "Answers to the rows of a file or of standard input."),
    "score": ("jobs:score", "Serve", "Score a file, a folder or a glob, and write one file of answers."),
    "jobs": ("jobs:jobs", "Serve", "List batch jobs; look at one, cancel it, retry it."),
    "package": ("package:package", "Serve", "Build a container image of a version."),
    "deploy": ("deploy:deploy", "Serve", "Put a version on a target: a machine, Kubernetes, a cloud."),
    "deployments": ("deploy:deployments", "Serve", "What was put on which target, and what came of it."),
    "platform": ("platform:platform", "Serve", "Write what runs all of Headrace: a compose file or a Helm chart."),
    "up": ("processes:up", "Serve", "Start everything on this machine."),
    "serve": ("serve:serve", "Serve", "Start a scoring server."),
    "keys": ("keys:keys", "Serve", "Make, list and revoke the keys of those who call."),
    "people": ("people:people", "Serve", "Add people, give them roles, and end their accounts."),
    "worker": ("worker:worker", "Serve", "Start a worker for runs, windows and rollouts."),
    "console": ("console:console", "Serve", "Start the console and the management API."),
    "outcomes": ("loop:outcomes", "Watch", "Record what became of predictions."),
    "status": ("loop:status", "Watch", "The loop of a model as it stands."),
    "notices": ("notices:notices", "Watch", "What owners were told, by mail and webhook, and whether it arrived."),
    "alerts": ("deploy:alerts", "Watch", "Write alert rules for Prometheus and a dashboard for Grafana."),
    "trace": ("loop:trace", "Watch", "Everything behind one prediction."),
    "audit": ("loop:audit", "Watch", "The audit log; --verify walks the chain."),
    "forget": ("keeping:forget", "Keep", "Erase a person's captured rows."),
    "gc": ("keeping:gc", "Keep", "Free what nothing refers to."),
    "workspace": ("keeping:workspace", "Keep", "Copy, back up, restore and verify a whole workspace."),
    "data": ("data:data", "Keep", "Snapshots of datasets: list, compare, pin."),
    "completion": ("completion:completion", "Start here", "Print the shell completion for bash, zsh or fish."),
}
GROUPS = ("Start here", "Make versions", "Look at versions", "Serve", "Watch", "Keep")

SELDOM = (10_000, 20, 100)
"""When garbage is looked for: loading libraries makes many objects and hardly any garbage."""


class Verbs(click.Group):
    """The group of all verbs, which imports a verb's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        gc.set_threshold(*SELDOM)
        found: Any = getattr(importlib.import_module(f"headrace.entrypoints.cli.{module}"), attribute)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command, or an error that names near ones."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint} See 'headrace --help'.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by what they are for."""
        for group in GROUPS:
            with formatter.section(group):
                formatter.write_dl([(name, text) for name, (_, at, text) in COMMANDS.items() if at == group])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--workspace", metavar="FOLDER", help="The workspace; else HEADRACE_WORKSPACE, else ./.headrace.")
@click.version_option(package_name="headrace", prog_name="headrace")
@click.pass_context
def main(ctx: click.Context, workspace: str | None) -> None:
    """Headrace takes a trained model into production and keeps it healthy there.

    \b
    headrace demo                      see the whole loop on real data
    headrace init flights              write a project that runs
    headrace run && headrace promote late-arrival@1 && headrace up

    Every command takes --json and then prints one JSON document. Exit codes: 0 done, 1 the answer is no,
    2 wrong usage or bad input, 3 not found, 4 refused, 5 something needed is not available, 70 a fault of ours.
    """
    ctx.obj = {"workspace": workspace}
    if sys.stdout.encoding is None or sys.stdout.encoding.lower() == "ascii":
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
