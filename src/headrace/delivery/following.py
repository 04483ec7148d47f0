"""The image of a scoring process without a version: it follows the route document of a workspace in object storage.

So a new version, a canary and a revoked key arrive in it within seconds, without a database or a new image.
It scores what is compiled; what is not needs its own packages, and an image of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from headrace.delivery.containerfile import COMPILE, FIRST_LINE, PORT, SERVE, USER, check_base
from headrace.delivery.context import OURS, copy_ours, line_of, same_for_everybody, write_metadata
from headrace.delivery.packaging import USUAL_BASE, Packaged, Wanted, built, ready
from headrace.delivery.programs import Saying
from headrace.delivery.wheels import FOLLOWING, fetched, unpacked
from headrace.kernel.release import VERSION

MORE_OF_OURS = ("audit/__init__.py", "audit/signing.py", "registry/__init__.py", "registry/signatures.py")
LOADED = "import headrace.entrypoints.cli.serve, headrace.registry.signatures, obstore.store"
TEXT = (
    FIRST_LINE
    + """ It follows HEADRACE_WORKSPACE, such as s3://BUCKET/PREFIX.
FROM {base} AS made
COPY site /opt/headrace/site
ENV PYTHONPATH=/opt/headrace/site PYTHONHASHSEED=0
"""
    + COMPILE
    + """\
RUN ["python3", "-c", "{loaded}"]

FROM {base}
LABEL org.opencontainers.image.title="headrace-scoring" org.opencontainers.image.version="{release}"
COPY --from=made /opt/headrace /opt/headrace
COPY notes /opt/headrace/notes
COPY --chown={user} home /var/lib/headrace
ENV PYTHONPATH=/opt/headrace/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV HOME=/var/lib/headrace HEADRACE_CACHE=/var/lib/headrace HEADRACE_HOST=0.0.0.0 HEADRACE_PORT={port}
"""
    + SERVE
)


def package_following(python: str, wanted: Wanted, folder: Path, saying: Saying) -> Packaged:
    """Write the build context to a folder, and build the image where a builder works.

    Args:
        python: the release of Python in the base image, as ``3.11``.

    Raises:
        Conflict, InvalidInput, MissingExtra, Unavailable: as `packaging.package`.
    """
    builder, site = ready(wanted, folder), folder / "site"
    base = check_base(wanted.base or USUAL_BASE.format(python=python))
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        saying(f"fetching packages for Python {python} on {wanted.platform}")
        wheels = fetched((), python, wanted.platform, Path(scratch) / "wheels", FOLLOWING)
        saying(f"writing {folder}")
        unpacked(wheels, site)
    copy_ours(site, (*OURS, *MORE_OF_OURS))
    write_metadata(site)
    for name in ("home", "notes"):
        (folder / name).mkdir()
    (folder / "home" / ".keep").touch()
    (folder / "notes" / "packages.txt").write_text("".join(map(line_of, wheels)))
    text = TEXT.format(base=base, loaded=LOADED, release=VERSION, user=USER, port=PORT)
    (folder / "Containerfile").write_text(text)
    same_for_everybody(folder)
    return built("", wanted, builder, folder, saying)
