"""Python, command line and HTTP offer the same verbs: docs/verbs.md is the table, and each filled cell exists."""

import re
from pathlib import Path

from click import Command, Context, Group

from headrace.entrypoints.cli import COMMANDS, main
from headrace.entrypoints.http.api import VERBS
from headrace.entrypoints.http.jobs import PATHS
from headrace.workspace import Workspace

TABLE = Path(__file__).parents[2] / "docs" / "verbs.md"


def rows():
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_filled_cell_exists():
    paths = {(method, re.sub(r"\{(\w+):int\}", r"{\1}", path)) for method, path, _, _ in (*VERBS, *PATHS)}
    assert len(rows()) > 15
    for python, command, http in rows():
        for name in re.findall(r"ws\.(\w+)", python):
            assert callable(getattr(Workspace, name)), name
        for name in re.findall(r"`headrace (\w+)", command):
            assert name in COMMANDS, name
        for method, path in re.findall(r"`(GET|POST) (/api/[^`]*)`", http):
            assert (method, path) in paths, (method, path)


def test_every_command_is_in_the_table():
    named = {name for _, command, _ in rows() for name in re.findall(r"headrace (\w+)", command)}
    assert named == set(COMMANDS)


def test_every_command_teaches_and_takes_json():
    for name in COMMANDS:
        command = main.get_command(Context(main), name)
        assert isinstance(command, Command)
        for each in (command, *command.commands.values()) if isinstance(command, Group) else (command,):
            assert each.help and len(each.help) > 20
            if name != "completion" and not isinstance(each, Group):
                assert any("--json" in option.opts for option in each.params), name
