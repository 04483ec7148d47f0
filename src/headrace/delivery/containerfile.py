"""The Containerfile of an image: the same few lines for every version.

What people may write as they like (purposes, owners, parameters) stands in no line of it; names, numbers and digests
follow rules that leave no room for a line of their own, and are held against them here once more.
"""

from __future__ import annotations

import re

from headrace.kernel.errors import InvalidInput
from headrace.kernel.identifiers import check_name

BASE = re.compile(r"[a-z0-9](?:[A-Za-z0-9._:/@-]{0,254})\Z")
"""Names of images (distribution/reference): registry, path, tag, digest."""
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
USER = "65532:65532"
PORT = 8080
"""The port at which SageMaker, Cloud Run and KServe look by themselves."""

COMPILE = """\
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/headrace/site"]
"""
SERVE = """\
EXPOSE {port}
USER {user}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \\
  CMD ["python3", "-m", "headrace.entrypoints.scoring.probe"]
ENTRYPOINT ["python3", "-m", "headrace"]
CMD ["serve"]
"""
"""How an image scores: as nobody, with a health check, until SIGTERM."""
TEXT = (
    """\
# Written by 'headrace package'. The same version, packages and base image give the same image.
FROM {base} AS made
COPY site /opt/headrace/site
COPY bundle /opt/headrace/bundle
COPY needed.txt /opt/headrace/needed.txt
ENV PYTHONPATH=/opt/headrace/site PYTHONHASHSEED=0
"""
    + COMPILE
    + """\
WORKDIR /opt/headrace
RUN ["python3", "-m", "headrace.entrypoints.scoring.checking", "bundle", "{digest}", "needed.txt"]

FROM {base}
LABEL org.opencontainers.image.title="{model}" org.opencontainers.image.version="{version}"
LABEL io.headrace.bundle="{digest}" io.headrace.provenance="{provenance}" io.headrace.release="{release}"
COPY --from=made /opt/headrace /opt/headrace
COPY notes /opt/headrace/notes
COPY rule.json /opt/headrace/rule.json
ENV PYTHONPATH=/opt/headrace/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV HEADRACE_BUNDLE=/opt/headrace/bundle HEADRACE_DIGEST={digest} HEADRACE_RULE=/opt/headrace/rule.json
ENV HEADRACE_HOST=0.0.0.0 HEADRACE_PORT={port} HEADRACE_UNGUARDED=1
"""
    + SERVE
)
FIRST_LINE = TEXT.partition(" The same")[0]


def check_base(base: str) -> str:
    """The name of a base image itself.

    Raises:
        InvalidInput: it is no name of an image.
    """
    if not BASE.match(base):
        raise InvalidInput(
            f"{base!r} is no name of an image.",
            field="base",
            expected="such as docker.io/library/python:3.11-slim",
            todo="Correct it.",
        )
    return base


def containerfile(model: str, version: int, digest: str, base: str, provenance: str, release: str) -> str:
    """The text of a Containerfile.

    Args:
        digest: of the bundle; `provenance` is that of the signed statement beside it.
        base: the image that has Python.

    Raises:
        InvalidInput: one of them does not follow its rule.
    """
    check_name(model)
    check_base(base)
    for value in (digest, provenance):
        if not DIGEST.match(value):
            raise InvalidInput(f"{value!r} is no digest.", expected="64 hexadecimal digits", todo="Register it again.")
    return TEXT.format(
        base=base,
        model=model,
        version=int(version),
        digest=digest,
        provenance=provenance,
        release=release,
        port=PORT,
        user=USER,
    )
