"""Verbs about keys of consumers."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from headrace.entrypoints.cli.verb import Call, err, out, table, verb
from headrace.kernel.callers import KeyRecord
from headrace.kernel.errors import InvalidInput
from headrace.kernel.objects import write_whole


@click.group()
def keys() -> None:
    """Keys: who may call, for what, how often and with which objective.

    \b
    headrace keys create --consumer shop --scope predict --p99 20ms
    headrace keys list
    headrace keys revoke ID
    headrace keys signer > registry.pub       the key that signs this registry's bundles
    headrace keys trust other-registry.pub    take what another registry signed
    """


@keys.command()
@click.option("--consumer", required=True, help="The application that will call, such as shop.")
@click.option(
    "--scope",
    default="predict",
    show_default=True,
    help="Of predict, train, deploy, approve, admin; several with commas.",
)
@click.option("--p99", metavar="DURATION", help="Its latency objective, such as 20ms.")
@click.option("--quota", help="Requests a second that each scoring process answers, such as 100.")
@click.option("--to", type=click.Path(path_type=Path), help="Write it to a file; where that is there, do nothing.")
@verb
def create(call: Call, consumer: str, scope: str, p99: str | None, quota: str | None, to: Path | None) -> None:
    """Make a key. It is shown this once; the workspace keeps only its hash.

    A scope of deploy includes train, one of admin includes all. Scoring servers know the key within a second.
    """
    if to is not None and to.exists():
        call.answer({"file": str(to)}, lambda: err.print(f"{to} is there already.", markup=False))
        return
    scopes = [one.strip() for one in scope.split(",") if one.strip()]
    record, text = call.workspace.create_key(consumer, scopes, p99=p99, quota=_quota(quota))

    if to is not None:
        write_whole(to, text.encode())
        call.answer(
            {**msgspec.to_builtins(record), "file": str(to)}, lambda: err.print(f"written to {to}", markup=False)
        )
        return

    def show() -> None:
        err.print(
            f"{record.consumer}: {', '.join(record.scopes)}. Send it as 'Authorization: Bearer KEY'; keep it now."
        )
        out.print(text, markup=False, soft_wrap=True)

    call.answer({**msgspec.to_builtins(record), "key": text}, show)


@keys.command("list")
@verb
def list_keys(call: Call) -> None:
    """List the keys that were made, with what they allow."""
    found: list[KeyRecord] = call.workspace.keys()
    rows = [
        (
            key.id,
            key.consumer,
            ", ".join(key.scopes),
            "" if key.p99 is None else f"{1000 * key.p99:g} ms",
            "" if key.quota is None else f"{key.quota:g}/s",
            f"{key.created:%Y-%m-%d %H:%M} by {key.created_by}",
            "" if key.revoked is None else f"{key.revoked:%Y-%m-%d %H:%M}",
        )
        for key in found
    ]
    columns = ("id", "consumer", "scopes", "p99 objective", "quota per process", "made", "revoked")
    call.answer(found, lambda: table("keys", columns, rows))


@keys.command()
@click.argument("key", metavar="ID")
@verb
def revoke(call: Call, key: str) -> None:
    """End a key by its id; scoring servers follow within a second."""
    record = call.workspace.revoke_key(key)
    call.answer(record, lambda: out.print(f"The key {record.id} of {record.consumer} is revoked."))


@keys.command()
@verb
def signer(call: Call) -> None:
    """Print the public key that signs this registry's bundles (ed25519, PEM), to be given to others."""
    key = call.workspace.signing_key()
    pem = key.pem.decode()
    call.answer({"id": key.id, "pem": pem}, lambda: call.write(pem))


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@verb
def trust(call: Call, file: Path) -> None:
    """Take bundles that another registry signed, whose public key is in FILE; it is recorded."""
    key = call.workspace.trust_key(file)
    call.answer({"id": key.id}, lambda: out.print(f"What {key.id[:16]} signs is trusted from now on."))


def _quota(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text.removesuffix("/s"))
    except ValueError as error:
        raise InvalidInput(
            f"The quota is {text!r}.", expected="requests a second, such as 100", todo="Correct it."
        ) from error
