"""The verb that writes what runs the whole of Headrace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.delivery.platform.writing import PlatformWanted, write_platform
from headrace.entrypoints.cli.verb import Call, err, out, verb
from headrace.kernel.release import VERSION

NEXT = {
    "compose": (
        "cd {folder} && docker compose up --detach --build --wait",
        "docker compose run --rm setup people add NAME --role admin      # the first person, who makes others",
    ),
    "helm": (
        "docker build --tag {image} --file {folder}/image/Containerfile {folder}/image && docker push {image}",
        "helm upgrade --install headrace {folder}/chart --set secret=NAME",
    ),
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as", "kind", type=click.Choice(list(NEXT)), default="compose", show_default=True)
@click.option("--image", default=f"headrace:{VERSION}", show_default=True, help="The name of Headrace's image.")
@click.option("--base", default="", metavar="IMAGE", help="The image below it.  [default: python:X.Y-slim, as here]")
@click.option("--platform", default="linux/amd64", show_default=True, help="linux/amd64 or linux/arm64.")
@click.option(
    "--package", "packages", multiple=True, metavar="NAME", help="A package of models that shall be trained there."
)
@click.option("--no-image", "context", flag_value=False, default=True, help="Leave out what the image is built of.")
@verb
def platform(call: Call, folder: Path, kind: Any, image: str, **said: Any) -> None:
    """Write what runs the whole of Headrace: a compose file for one machine, or a Helm chart for a cluster.

    With PostgreSQL, a server that speaks S3, scoring, worker, console, Prometheus and Grafana; on a cluster with the
    PostgreSQL and the object storage that are there. Written again, .env with its secrets stays.
    """

    def saying(line: str) -> None:
        err.print(line, markup=False, style="dim", soft_wrap=True)

    packages = tuple(said.pop("packages"))
    written = write_platform(PlatformWanted(kind=kind, image=image, packages=packages, **said), folder, saying)

    def show() -> None:
        out.print(f"{folder}: {', '.join(written)}", markup=False, soft_wrap=True)
        for line in NEXT[kind]:
            out.print(f"  {line.format(folder=folder, image=image)}", markup=False, soft_wrap=True)

    call.answer({"folder": str(folder), "files": written}, show)
