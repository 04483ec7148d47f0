"""The verb that scores: it loads what scoring needs, and no more."""

from __future__ import annotations

from pathlib import Path

import click

from headrace import settings

settings.limit_threads()

from headrace.entrypoints.cli.verb import Call, err, verb  # noqa: E402 - threads are limited before numpy is loaded
from headrace.entrypoints.scoring.server import serve_bundle, serve_workspace  # noqa: E402
from headrace.kernel.errors import NotTrusted  # noqa: E402
from headrace.kernel.places import Places  # noqa: E402


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, help="0 takes a free one.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Serve this one bundle, without a workspace.")
@click.option("--digest", help="The digest that the bundle must have; needed with --bundle.")
@click.option("--unguarded", is_flag=True, help="Listen beyond 127.0.0.1 although callers are not checked.")
@verb
def serve(call: Call, host: str, port: int, bundle: Path | None, digest: str | None, unguarded: bool) -> None:
    """Start a scoring server for what is live in the workspace, or for one bundle.

    POST /models/MODEL/predict answers; /openapi.json describes; /health, /ready and /metrics watch.
    """

    call.keep_output()

    def announce(at: str, taken: int) -> None:
        document = {"url": f"http://{at}:{taken}", "port": taken}
        call.answer(document, lambda: err.print(f"scoring at http://{at}:{taken} (Ctrl-C ends)"))

    if bundle is not None:
        if digest is None:
            raise NotTrusted(
                f"Nothing says that {bundle} is the bundle that was registered.",
                expected="--digest, as 'headrace show MODEL@N' prints it",
                todo="Name the digest: a bundle holds a pickle, which can run any code when it is opened.",
            )
        serve_bundle(bundle, digest, host, port, announce, unguarded)
    else:
        serve_workspace(Places(settings.workspace_folder(call.location).absolute()), host, port, announce, unguarded)
