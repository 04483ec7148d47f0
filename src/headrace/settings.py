"""The table of settings: the only reader of the environment."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from headrace.kernel.errors import InvalidInput
from headrace.kernel.places import Places


class Setting(NamedTuple):
    """One variable of the environment, its default and what it is for."""

    variable: str
    default: str
    help: str


WORKSPACE = Setting(
    "HEADRACE_WORKSPACE",
    ".headrace",
    "The workspace: a folder, or postgresql://.../DATABASE?objects=s3://BUCKET/PREFIX.",
)
CACHE = Setting("HEADRACE_CACHE", "", "Where files of object storage are kept here; ~/.cache/headrace where empty.")
KEYS = Setting("HEADRACE_KEYS", "", "The folder of the workspace's private keys; among its files where empty.")
WHO = Setting("HEADRACE_WHO", "", "Who makes changes, for the audit log; the login name where empty.")
TURN_SECONDS = Setting("HEADRACE_TURN_SECONDS", "1", "Seconds between two turns of the worker's loop.")
OPENLINEAGE = Setting("HEADRACE_OPENLINEAGE", "", "Where runs are told as OpenLineage events: a URL, or a file.")
CONSOLE_URL = Setting("HEADRACE_CONSOLE_URL", "", "The address at which people open the console, for links to it.")
PROXIES = Setting("HEADRACE_PROXIES", "", "Addresses of proxies whose X-Forwarded-For is believed, with commas.")
SMTP = Setting("HEADRACE_SMTP", "", "The mail server: smtp+starttls://USER:PASSWORD@HOST:PORT?from=ADDRESS.")
WEBHOOK_SECRET = Setting("HEADRACE_WEBHOOK_SECRET", "", "What signs webhooks: whsec_ and base64, or any text.")
TEMPLATES = Setting("HEADRACE_TEMPLATES", "", "A folder of templates in whose words notices are told.")
OIDC = Setting("HEADRACE_OIDC", "", "The issuer of an OpenID provider at which people sign in, https://...")
OIDC_CLIENT = Setting("HEADRACE_OIDC_CLIENT", "headrace", "What the console is called there: its client id.")
OIDC_SECRET = Setting("HEADRACE_OIDC_SECRET", "", "The secret of that client; empty for a public one.")
OIDC_NAME = Setting("HEADRACE_OIDC_NAME", "email", "The claim that is a person's name here; email must be verified.")
OIDC_ROLES = Setting("HEADRACE_OIDC_ROLES", "", "Roles by a claim, as groups:ml-admins=admin,ml=scientist,*=viewer.")
JOB_FOLDERS = Setting("HEADRACE_JOB_FOLDERS", "", "Folders, prefixes and databases of API callers' jobs, with commas.")
JOB_HOOKS = Setting("HEADRACE_JOB_HOOKS", "", "What webhooks of API callers' jobs must begin with, with commas.")
JOBS_EACH = Setting("HEADRACE_JOBS_EACH", "100", "How many jobs of one caller may be under way.")
UPLOADS_EACH = Setting("HEADRACE_UPLOADS_EACH", "100GB", "How much one caller may have sent that is not freed yet.")
JOB_ENGINE = Setting("HEADRACE_JOB_ENGINE", "local", "Where API callers' jobs are scored: local, ray or spark.")
CI = Setting("CI", "", "Set by build servers: the demo ends by itself.")
HOST = Setting("HEADRACE_HOST", "127.0.0.1", "The address that a scoring server listens on.")
PORT = Setting("HEADRACE_PORT", "8000", "The port that a scoring server listens on.")
BUNDLE = Setting("HEADRACE_BUNDLE", "", "The folder of the one bundle that a scoring server serves, as in a container.")
DIGEST = Setting("HEADRACE_DIGEST", "", "The digest that this bundle must have.")
CAPTURE = Setting("HEADRACE_CAPTURE", "", "Where one bundle's predictions are kept: a folder, or - to print them.")
RULE = Setting("HEADRACE_RULE", "", "The file that says what may be written down of them, as in a container.")
PLATFORM_PORT = Setting("PORT", "", "Set by Cloud Run and others like it: the port, where one bundle is served.")
SAGEMAKER_PORT = Setting("SAGEMAKER_BIND_TO_PORT", "", "Set by SageMaker: the port, where one bundle is served.")
SAGEMAKER_PAYLOAD = Setting(
    "SAGEMAKER_MAX_PAYLOAD_IN_MB", "", "Set by SageMaker's batch transform: how large a body it sends."
)
BUILD_OPTIONS = Setting("HEADRACE_BUILD_OPTIONS", "", "More words for whatever builds images.")
PUSH_OPTIONS = Setting("HEADRACE_PUSH_OPTIONS", "", "More words for whatever sends images to their registry.")
ENDPOINT_KEY = Setting("HEADRACE_ENDPOINT_KEY", "", "The key that an endpoint is asked with once it was deployed.")
RUN_OPTIONS = Setting("HEADRACE_RUN_OPTIONS", "", "More words for docker or podman where they run an image.")
UNGUARDED = Setting("HEADRACE_UNGUARDED", "", "Any text: callers of a scoring server are not asked for keys.")
VERTEX_PORT = Setting("AIP_HTTP_PORT", "", "Set by Vertex AI, which guards its containers itself: the port.")
VERTEX_HEALTH = Setting("AIP_HEALTH_ROUTE", "", "Set by Vertex AI: the path of the probe.")
VERTEX_PREDICT = Setting("AIP_PREDICT_ROUTE", "", "Set by Vertex AI: the path of predictions.")
SETTINGS = (
    WORKSPACE,
    CACHE,
    KEYS,
    WHO,
    TURN_SECONDS,
    OPENLINEAGE,
    CONSOLE_URL,
    PROXIES,
    SMTP,
    WEBHOOK_SECRET,
    TEMPLATES,
    OIDC,
    OIDC_CLIENT,
    OIDC_SECRET,
    OIDC_NAME,
    OIDC_ROLES,
    JOB_FOLDERS,
    JOB_HOOKS,
    JOBS_EACH,
    UPLOADS_EACH,
    JOB_ENGINE,
    CI,
    HOST,
    PORT,
    BUNDLE,
    DIGEST,
    CAPTURE,
    RULE,
    PLATFORM_PORT,
    SAGEMAKER_PORT,
    SAGEMAKER_PAYLOAD,
    BUILD_OPTIONS,
    PUSH_OPTIONS,
    ENDPOINT_KEY,
    RUN_OPTIONS,
    UNGUARDED,
    VERTEX_PORT,
    VERTEX_HEALTH,
    VERTEX_PREDICT,
)


STORAGE = ("s3", "gs", "az")
"""The schemes of object storage."""


def read(setting: Setting) -> str:
    """The value of a setting."""
    return os.environ.get(setting.variable) or setting.default


def container_port() -> str:
    """The port of a scoring server: that which its platform names, where it serves one bundle, else its own."""
    platform = (VERTEX_PORT, SAGEMAKER_PORT, PLATFORM_PORT) if read(BUNDLE) else (VERTEX_PORT,)
    return next((read(one) for one in platform if read(one)), read(PORT))


_acting: ContextVar[str] = ContextVar("acting", default="")


@contextmanager
def acting(name: str) -> Iterator[None]:
    """Let changes in the block be made by `name`, the consumer whose key a request showed; empty changes nothing."""
    token = _acting.set(name or _acting.get())
    try:
        yield
    finally:
        _acting.reset(token)


def who() -> str:
    """Who makes changes."""
    named = _acting.get() or read(WHO)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def workspace_places(url: str | Path | None, storage_alone: bool = False) -> Places:
    """The places of a workspace: of what was named, else of the setting.

    Args:
        storage_alone: its object storage is enough, as for scoring: ``s3://BUCKET/PREFIX``.

    Raises:
        InvalidInput: it is an address that names no place for files, or of an unknown kind, or without a database.
    """
    named = str(url) if url else read(WORKSPACE)
    keys = Path(read(KEYS)).absolute() if read(KEYS) else None
    if "://" not in named:
        return Places(Path(named).absolute(), keys=keys)
    at = urlsplit(named)
    options = dict(parse_qsl(at.query))
    objects = options.pop("objects", "")
    if at.scheme in STORAGE:
        return _storage_places(named, keys, storage_alone)
    if at.scheme not in ("postgresql", "postgres") or not objects or not _numbered(at):
        raise InvalidInput(
            f"The workspace {_shown(named)} cannot be opened.",
            expected="a folder, or postgresql://USER@HOST/DATABASE?objects=PLACE, where PLACE is s3://BUCKET/PREFIX, "
            "gs://..., az://... or a folder that all processes reach",
            todo="Correct the address.",
        )
    metadata = urlunsplit(("postgresql", at.netloc, at.path, urlencode(options), ""))
    if "://" not in objects or objects.startswith("file://"):
        return Places(Path(objects.removeprefix("file://")).absolute(), named, metadata, keys=keys)
    cache = _cache(f"{at.hostname}:{at.port}{at.path} {objects}")
    return Places(cache, named, metadata, objects, keys)


def _storage_places(named: str, keys: Path | None, enough: bool) -> Places:
    if not enough:
        raise InvalidInput(
            f"{named} is the storage of a workspace, and not its database.",
            expected="postgresql://USER@HOST/DATABASE?objects=PLACE; the storage alone is enough for 'headrace serve'",
            todo="Name the database too.",
        )
    return Places(_cache(named), named, "", named, keys)


def _cache(what: str) -> Path:
    """Where the files of an object storage are kept here."""
    cache = Path(read(CACHE) or Path.home() / ".cache" / "headrace")
    return cache.absolute() / sha256(what.encode()).hexdigest()[:16]


def _numbered(at: SplitResult) -> bool:
    try:
        return at.hostname is not None and (at.port is None or at.port > 0)
    except ValueError:
        return False


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    return re.sub(r"//[^/]*@|//.*@", "//***@", url.partition("?")[0])


def environment_of(places: Places) -> dict[str, str]:
    """The environment of a process on this workspace: an address may hold a password, so it is no argument."""
    return {**os.environ, WORKSPACE.variable: places.url}


def limit_threads() -> None:
    """One thread for each numeric library, unless the environment says otherwise: more change the last bits.

    Work on tables leaves one core free, so that it does not hold up an answer.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("POLARS_MAX_THREADS", str(max(1, cores - 1)))
