"""Verbs about people and their roles."""

from __future__ import annotations

import sys

import click
import msgspec

from headrace.access.roles import ROLES
from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.callers import Person
from headrace.kernel.errors import InvalidInput

ROLE = click.Choice(list(ROLES))


@click.group()
def people() -> None:
    """People: who signs in to the console and the API, and what they may do there.

    \b
    viewer       looks at everything but the audit log
    scientist    also starts runs, certifies and proves, asks for predictions and traces them
    operator     also promotes and rolls back
    approver     looks, asks for predictions, and approves what others want to make live
    admin        everything, and people and keys

    \b
    headrace people add anna --role scientist      prints a code with which anna chooses a password
    headrace people role anna operator
    headrace people end anna

    Once there is anybody, the console and the API ask everybody to sign in, or for a key. Whoever can open the
    workspace itself (its files, its database), as this command does, needs no account.
    """


@people.command()
@click.argument("name")
@click.option("--role", type=ROLE, default="viewer", show_default=True)
@click.option("--oidc", is_flag=True, help="They sign in at the identity provider of HEADRACE_OIDC.")
@click.option("--password-stdin", is_flag=True, help="Read their password from standard input.")
@verb
def add(call: Call, name: str, role: str, oidc: bool, password_stdin: bool) -> None:
    """Add a person, or take back one whose account was ended.

    They choose their password with the code that is printed, at /welcome of the console, within three days.
    """
    if oidc and password_stdin:
        raise InvalidInput("--oidc and --password-stdin exclude each other.", todo="Leave one of them out.")
    password = sys.stdin.read().rstrip("\r\n") if password_stdin else None
    if password_stdin and not password:
        raise InvalidInput("Standard input holds no password.", todo="Send one, or leave --password-stdin out.")
    person, code = call.workspace.add_person(name, role, password=password, elsewhere=oidc)
    _answer(call, person, code)


@people.command("list")
@verb
def list_people(call: Call) -> None:
    """List everybody who was ever added."""
    found: list[Person] = call.workspace.people()
    rows = [(one.name, one.role, _how(one), f"{one.created:%Y-%m-%d %H:%M} by {one.created_by}") for one in found]
    call.answer(found, lambda: table("people", ("name", "role", "signs in", "added"), rows))


@people.command("role")
@click.argument("name")
@click.argument("role", type=ROLE)
@verb
def change_role(call: Call, name: str, role: str) -> None:
    """Give a person another role, at once."""
    person = call.workspace.change_role(name, role)
    call.answer(person, lambda: out.print(f"{person.name} is {person.role}."))


@people.command()
@click.argument("name")
@verb
def reset(call: Call, name: str) -> None:
    """End a person's password and sessions, and print a code with which they choose another."""
    _answer(call, *call.workspace.reset_person(name))


@people.command()
@click.argument("name")
@verb
def end(call: Call, name: str) -> None:
    """End an account and its sessions, at once; what it did stays on record."""
    person = call.workspace.end_person(name)
    call.answer(person, lambda: out.print(f"The account of {person.name} is ended."))


def _answer(call: Call, person: Person, code: str) -> None:
    def show() -> None:
        err.print(f"{person.name} is {person.role}, and signs in {_how(person)}.")
        if code:
            err.print("They open /welcome of the console and choose a password with this code:")
            out.print(code, markup=False)

    call.answer({**msgspec.to_builtins(person), "code": code}, show)


def _how(person: Person) -> str:
    if person.ended is not None:
        return f"ended {person.ended:%Y-%m-%d}"
    if person.issuer:
        return f"at {person.issuer}"
    return "after choosing a password" if person.waiting else "with a password"
