"""A scoring server on this machine that follows a route document of its own: a new version is taken over between two
requests, and nothing is started anew for it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from headrace.delivery.targets.target import Command, Deployable, Rendered
from headrace.kernel.errors import InvalidInput
from headrace.kernel.places import Places
from headrace.kernel.routes import Arm, Endpoint, RouteDocument
from headrace.training.targets import ProcessTarget

UNIT = """\
# Written by 'headrace deploy'.
[Unit]
Description=Headrace: scoring of {model}
After=network-online.target
Wants=network-online.target

[Service]
{user}ExecStart={command}
WorkingDirectory={folder}
Restart=always
RestartSec=1
KillSignal=SIGTERM
TimeoutStopSec=45
NoNewPrivileges=yes
PrivateTmp=yes
UMask=0077

[Install]
WantedBy={wanted_by}
"""


def process(it: Deployable, section: ProcessTarget) -> Rendered:
    """The route document and the unit of systemd; the server is started where it does not run, and else goes on.

    Raises:
        InvalidInput: systemd's own server has no account to run as.
    """
    if section.scope == "system" and not section.account:
        raise InvalidInput(
            f"Target {it.target} does not say as whom the server runs.",
            field="account",
            expected="account = the name of a user that may write to its folder",
            todo="Add it to the target; a server that scores should not run as root.",
        )
    folder = Path(it.folder) / it.target
    name = f"headrace-{it.model}-{it.target}.service"
    words = (sys.executable, "-m", "headrace", "--workspace", str(folder), "serve", "--grpc-port", "off")
    words += ("--host", section.host, "--port", str(section.port), "--workers", str(section.workers))
    unit = UNIT.format(
        model=it.model,
        command=" ".join(map(_quoted, words)),
        folder=_escaped(str(folder)),
        user=f"User={section.account}\n" if section.scope == "system" else "",
        wanted_by="multi-user.target" if section.scope == "system" else "default.target",
    )
    files = {f"{it.target}/keys/signing.pub": it.public} if it.public else {}
    files |= {f"{it.target}/{name}": unit, f"{it.target}/routes.json": _routes(it)}
    put, back = (
        _systemd(section, folder / name, f"{it.target}/{name}")
        if section.manager == "systemd"
        else _by_hand(section, words)
    )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.host, section.host)  # noqa: S104 - all that listen
    shown = f"[{host}]" if ":" in host else host
    return Rendered(
        files=files,
        put=put,
        back=back,
        bundle=str(Places(Path(it.target)).bundles / it.digest),
        address=section.url or f"http://{shown}:{section.port}",
    )


def _routes(it: Deployable) -> str:
    """The route document: this version is all that answers; keys and what may be written down are the workspace's."""
    endpoints, versions = {it.model: Endpoint(Arm(it.version, it.digest))}, {it.model: {it.version: it.digest}}
    return route_text(RouteDocument(it.serial, endpoints, versions, it.rules, it.keys))


def route_text(document: RouteDocument) -> str:
    """A route document as it is written here: for people to compare."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def _systemd(section: ProcessTarget, unit: Path, file: str) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
    systemctl = ("systemctl", "--user") if section.scope == "user" else ("systemctl",)
    put = (
        Command(words=(*systemctl, "link", "--force", str(unit))),
        Command(words=(*systemctl, "daemon-reload")),
        Command(words=(*systemctl, "enable", "--now", unit.name)),
        Command(words=(*systemctl, "restart", unit.name), changed=file),
    )
    return put, (Command(words=(*systemctl, "disable", "--now", unit.name)),)


def _by_hand(section: ProcessTarget, words: tuple[str, ...]) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
    asks = ("-m", "headrace.entrypoints.scoring.probe", section.host, str(section.port))
    return (Command(words=words, known=(sys.executable, *asks), stays=True),), ()


def _quoted(word: str) -> str:
    """A word of a command line of systemd (systemd.service, "Command lines"; systemd.syntax, "Quoting")."""
    return f'"{_escaped(word).replace("$", "$$")}"'


def _escaped(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return "".join(c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in plain)
