"""The image of the whole of Headrace: scoring, worker and console are one program.

The packages are those that are installed here, in these versions: what Headrace requires, and what the models need that
shall be trained there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from headrace.delivery.containerfile import COMPILE, USER, check_base
from headrace.delivery.context import PACKAGE, line_of, same_for_everybody, write_metadata
from headrace.delivery.programs import Saying
from headrace.delivery.wheels import fetched_exactly, unpacked
from headrace.kernel.errors import InvalidInput
from headrace.kernel.folders import need_empty
from headrace.kernel.release import VERSION
from headrace.registry.environment import normal, with_required

TEXT = (
    """\
# Written by 'headrace platform'. The same packages and base image give the same image.
FROM {base} AS made
COPY site /opt/headrace/site
ENV PYTHONPATH=/opt/headrace/site PYTHONHASHSEED=0
"""
    + COMPILE
    + """\
RUN ["python3", "-m", "headrace", "--version"]

FROM {base}
LABEL org.opencontainers.image.title="headrace" org.opencontainers.image.version="{release}"
COPY --from=made /opt/headrace /opt/headrace
COPY packages.txt /opt/headrace/packages.txt
COPY --chown={user} home /var/lib/headrace
ENV PYTHONPATH=/opt/headrace/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV HOME=/var/lib/headrace HEADRACE_CACHE=/var/lib/headrace/cache HEADRACE_WHO=platform
WORKDIR /var/lib/headrace
USER {user}
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "headrace"]
CMD ["--help"]
"""
)


def installed_pins(more: Sequence[str]) -> list[str]:
    """Headrace's requirements and those of other packages, as ``name==version`` of what is installed here.

    Raises:
        InvalidInput: one of the others is not installed.
    """
    for name in more:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise InvalidInput(
                f"The package {name!r} is not installed here.",
                field="package",
                expected="a package that is, whose version the image then has",
                todo=f"Install it: pip install {name}.",
            ) from error
    names = with_required(["headrace", *more]) - {"headrace"}
    return sorted(f"{normal(name)}=={metadata.version(name)}" for name in names)


def write_platform_context(folder: Path, base: str, platform: str, more: Sequence[str], saying: Saying) -> None:
    """Write the build context of the image to an empty folder.

    Args:
        base: the image below it, with the Python that runs here.
        more: packages of the models that shall be trained there.

    Raises:
        Conflict: the folder holds something.
        InvalidInput: the base is no name of an image, or a package is not installed here.
        MissingExtra, Unavailable: the packages could not be fetched.
    """
    need_empty(folder)
    check_base(base)
    pins, python = installed_pins(more), running_python()
    site = folder / "site"
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        saying(f"fetching {len(pins)} packages for Python {python} on {platform}")
        wheels = fetched_exactly(pins, python, platform, Path(scratch) / "wheels")
        saying(f"writing {folder}")
        unpacked(wheels, site)
    shutil.copytree(PACKAGE, site / "headrace", ignore=shutil.ignore_patterns("__pycache__"))
    write_metadata(site)
    (folder / "home").mkdir()
    (folder / "home" / ".keep").touch()
    (folder / "packages.txt").write_text("".join(map(line_of, wheels)))
    (folder / "Containerfile").write_text(TEXT.format(base=base, release=VERSION, user=USER))
    same_for_everybody(folder)


def running_python() -> str:
    """The release of Python that runs here: ``3.11``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
