"""The verb that makes images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.delivery.containers import runner_of
from headrace.delivery.following import package_following
from headrace.delivery.packaging import Packaged
from headrace.delivery.platform.image import running_python
from headrace.entrypoints.cli.verb import Call, err, out, verb
from headrace.kernel.errors import InvalidInput
from headrace.kernel.release import VERSION
from headrace.workspace.delivering import wanted_image


@click.command()
@click.argument("reference", metavar="MODEL[@N]", required=False)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--follow", is_flag=True, help="Instead of a version: an image that follows a workspace's object storage."
)
@click.option("--tag", default="", metavar="NAME", help="The name of the image.  [default: MODEL:N]")
@click.option(
    "--base", default="", metavar="IMAGE", help="An image with Python.  [default: python:X.Y-slim, as in training]"
)
@click.option("--platform", default="linux/amd64", show_default=True, help="linux/amd64 or linux/arm64.")
@click.option("--builder", default="", help="docker, podman or buildah; the first that works by default.")
@click.option("--no-build", is_flag=True, help="Write the build context, and say what builds it.")
@click.option("--certify", is_flag=True, help="Run the image, and hold its answers against the golden rows.")
@click.option("--overwrite", is_flag=True, help="Write over a build context that stands in FOLDER.")
@click.option("--push", is_flag=True, help="Send the image to its registry.")
@verb
def package(
    call: Call,
    reference: str | None,
    folder: Path | None,
    follow: bool,
    certify: bool,
    no_build: bool,
    **asked: Any,
) -> int:
    """Build a container image that serves one version: what scores alone is in it.

    The build context is written to FOLDER (by default MODEL-N-image), where it stays: it needs no network to be built,
    and the same one gives the same image. The image answers at port 8080, or at the port that its platform names.

    With --follow [FOLDER] it holds no version, and answers with what is live in HEADRACE_WORKSPACE, s3://BUCKET/PREFIX.
    """
    if follow:
        return _package_following(call, Path(reference or "scoring-image"), build=not no_build, **asked)
    if reference is None:
        raise InvalidInput("No version is named.", expected="MODEL@N, or --follow", todo="Name one.")
    version = call.workspace.version(reference)
    place = folder or Path(f"{version.name}-{version.number}-image")

    packaged = call.workspace.package(version.reference, place, build=not no_build, saying=_saying, **asked)
    certificate = None
    if certify and packaged.digest:
        certificate = call.workspace.certify_image(version.reference, packaged.tag, packaged.builder)
    document = {"packaged": packaged, "certificate": certificate}
    call.answer(document, lambda: _show(packaged, certificate))
    return 0 if certificate is None or certificate.passed else 1


def _saying(line: str) -> None:
    err.print(line, markup=False, style="dim", soft_wrap=True)


def _package_following(call: Call, folder: Path, tag: str, **asked: Any) -> int:
    wanted = wanted_image(tag or f"headrace-scoring:{VERSION}", **asked)
    packaged = package_following(running_python(), wanted, folder, _saying)
    call.answer({"packaged": packaged, "certificate": None}, lambda: _show(packaged, None))
    return 0


def _show(packaged: Packaged, certificate: Any) -> None:
    size = f"{packaged.context_bytes / 1e6:,.0f} MB over its base"
    if not packaged.digest:
        out.print(
            f"{packaged.version or packaged.tag}: the build context is at {packaged.context}, {size}. To build it:",
            markup=False,
        )
        out.print(f"  {packaged.command}", markup=False, soft_wrap=True)
        return
    what = f"{packaged.version} is the image {packaged.tag}" if packaged.version else packaged.tag
    out.print(f"{what}, {size}: {packaged.digest}", markup=False)
    if certificate is not None:
        said = "passed" if certificate.passed else "; ".join(certificate.failures)
        out.print(f"its certificate, with a container of it: {said}", markup=False)
    elif packaged.version and runner_of(packaged.builder):
        out.print("--certify holds what a container of it answers against the golden rows.")
