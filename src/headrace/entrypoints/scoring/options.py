"""How a scoring server is to run, as the command line and the environment say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from headrace.entrypoints.scoring.listening import is_loopback
from headrace.kernel.errors import Refused
from headrace.kernel.routes import RouteDocument, Rule
from headrace.serving.capture import Mode
from headrace.serving.limits import Limits
from headrace.serving.site import VertexRoutes


class Keeping(NamedTuple):
    """Where the predictions of one bundle are kept: `to` is a folder, or ``-`` for standard output, which has the
    descriptor `output`; empty for nowhere. `rule` says what may be written down, `keys` is the folder of the secret
    that columns are hashed with."""

    to: str = ""
    output: int = 1
    rule: Rule = Rule()
    keys: Path | None = None


class Options(NamedTuple):
    """`grpc_port` None is none; `group` names the processes of one command; `inherited` is a listening socket's
    descriptor that a supervisor gave."""

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    workers: int = 1
    capture: Mode = "default"
    guarded: bool = False
    unguarded: bool = False
    single: str | None = None
    limits: Limits = Limits()
    access_log: Path | None = None
    traces: str | None = None
    vertex: VertexRoutes = VertexRoutes()
    group: str = ""
    keeping: Keeping = Keeping()
    inherited: int | None = None

    @property
    def keys_required(self) -> bool:
        """Whether every caller must show a key: beyond this machine always, here where it was asked for."""
        return not self.unguarded and (self.guarded or not is_loopback(self.host))


def check_guard(options: Options, document: RouteDocument | None) -> None:
    """See that somebody can call the server at all.

    Raises:
        Refused: it can be reached from outside, or keys were asked for, and there is none.
    """
    if options.keys_required and not (document and document.keys):
        raise Refused(
            f"Callers of {options.host} must show a key, and there is none.",
            expected="a key, or 127.0.0.1",
            todo="Make one with 'headrace keys create --consumer NAME' (a console also takes people: 'headrace people "
            "add NAME'); or say --unguarded if the network is closed.",
        )
