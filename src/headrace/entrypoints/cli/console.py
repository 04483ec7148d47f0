"""The verb that shows."""

from __future__ import annotations

import click

from headrace.entrypoints.cli.verb import Call, err, verb
from headrace.entrypoints.console.server import serve_console
from headrace.entrypoints.scoring.options import Options
from headrace.kernel.errors import InvalidInput


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--guarded", is_flag=True, help="Ask everybody who they are, on 127.0.0.1 too.")
@click.option("--unguarded", is_flag=True, help="Listen beyond 127.0.0.1 although callers are not checked.")
@verb
def console(call: Call, host: str, port: int, guarded: bool, unguarded: bool) -> None:
    """Start the console and the management API.

    Beyond 127.0.0.1, and everywhere once there are people, one signs in or shows a key. Where there are only keys, a
    browser asks for one as the password, with any name.
    """

    if guarded and unguarded:
        raise InvalidInput("--guarded and --unguarded exclude each other.", todo="Leave one of them out.")
    call.keep_output()

    def announce(at: str, taken: int) -> None:
        document = {"url": f"http://{at}:{taken}", "port": taken}
        call.answer(document, lambda: err.print(f"console at http://{at}:{taken} (Ctrl-C ends)"))

    options = Options(host=host, port=port, guarded=guarded, unguarded=unguarded)
    serve_console(call.workspace, options, announce)
