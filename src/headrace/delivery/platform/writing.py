"""Writing what runs the whole of Headrace to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headrace.delivery.platform.chart import chart_files
from headrace.delivery.platform.compose import compose_files, secret_file
from headrace.delivery.platform.image import running_python, write_platform_context
from headrace.delivery.programs import Saying
from headrace.kernel.errors import Conflict
from headrace.kernel.objects import write_whole
from headrace.kernel.records import Record

USUAL_BASE = "docker.io/library/python:{python}-slim"


class PlatformWanted(Record, frozen=True, kw_only=True):
    """What is to be written: a compose file or a Helm chart, and with `context` what the image is built of. `packages`
    are those of the models that shall be trained there."""

    kind: Literal["compose", "helm"]
    image: str
    base: str = ""
    platform: str = "linux/amd64"
    packages: tuple[str, ...] = ()
    context: bool = True


def write_platform(wanted: PlatformWanted, folder: Path, saying: Saying) -> list[str]:
    """Write a set-up to a folder; gives the files, but for those of the image. What stands there is written anew, but
    for `.env` with its secrets, and the build context of the image, which is only written where there is none.

    Raises:
        Conflict: the folder holds something else.
        InvalidInput, MissingExtra, Unavailable: the image's packages could not be fetched.
    """
    name = "compose.yaml" if wanted.kind == "compose" else "chart/Chart.yaml"
    if folder.exists() and any(folder.iterdir()) and not (folder / name).exists():
        raise Conflict(
            f"{folder} holds something else.", expected=f"a new folder, or one with {name}", todo="Name another one."
        )
    files = compose_files(wanted.image) if wanted.kind == "compose" else chart_files(wanted.image)
    context = folder / "image"
    if wanted.context and not context.exists():
        base = wanted.base or USUAL_BASE.format(python=running_python())
        write_platform_context(context, base, wanted.platform, wanted.packages, saying)
    for path, text in files.items():
        write_whole(folder / path, text.encode())
    if wanted.kind == "compose" and not (folder / ".env").exists():
        write_whole(folder / ".env", secret_file().encode(), private=True)
        files[".env"] = ""
    return sorted(files)
