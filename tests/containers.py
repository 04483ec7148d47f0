"""Images on a machine without a daemon: a base with nothing but Debian's Python, and the words that build and run here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients import absent

BASE = "localhost/headrace-test-base:bookworm-tls"
LIMITS = "--ulimit nproc=32768:32768 --ulimit nofile=20000:20000"
BUILD = f"--isolation chroot {LIMITS}"
RUN = f"--runtime runc --network host --no-healthcheck {LIMITS}"
NEEDED = ("buildah", "podman", "runc", "debootstrap")


def need_base() -> str:
    """A base image, made where it is not there; the test is skipped where nothing here makes one."""
    missing = [name for name in NEEDED if shutil.which(name) is None and not Path(f"/usr/sbin/{name}").exists()]
    if missing or os.geteuid() != 0:
        absent("containers", f"images need root, and {', '.join(missing) or 'a user other than this one'}")
    if not _there(BASE):
        _make()
    return BASE


def _there(image: str) -> bool:
    return subprocess.run(["podman", "image", "exists", image], check=False).returncode == 0


def _make() -> None:
    """Debian with Python, from the mirror that this machine uses."""
    texts = [path.read_text() for path in Path("/etc/apt").rglob("*") if path.suffix in (".list", ".sources")]
    mirror = next(iter(re.findall(r"https?://\S+/debian/?(?=\s)", "\n".join(texts))), "")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        command = [
            shutil.which("debootstrap") or "/usr/sbin/debootstrap",
            "--variant=minbase",
            "--include=python3,ca-certificates",
            "bookworm",
            str(root),
        ]
        done = subprocess.run([*command, *([mirror] if mirror else [])], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
        made = _output("buildah", "from", "scratch")
        _output("buildah", "add", "--quiet", made, str(root), "/")
        _output("buildah", "commit", "--quiet", "--timestamp", "0", made, BASE)
        _output("buildah", "rm", made)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def inspected(image: str, what: str) -> str:
    """What podman says of an image, by a template of Go."""
    return _output("podman", "image", "inspect", "--format", what, image)


def derived(image: str, change: str) -> str:
    """A new image in which a line of Python changed something."""
    made = _output("buildah", "from", *shlex.split(BUILD), image)
    _output("buildah", "run", "--isolation", "chroot", "--user", "0", made, "--", "python3", "-c", change)
    tag = f"localhost/headrace-test-{uuid.uuid4().hex[:12]}"
    _output("buildah", "commit", "--quiet", made, tag)
    _output("buildah", "rm", made)
    return tag


@contextmanager
def running(
    image: str, *words: str, env: dict[str, str] | None = None, mounts: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A container in the foreground, read-only, at the ports of this machine, until the end of the block."""
    name = f"headrace-test-{uuid.uuid4().hex[:12]}"
    command = ["podman", "run", "--rm", "--name", name, "--read-only", *shlex.split(RUN)]
    command += [word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")]
    command += mounts
    process = subprocess.Popen([*command, image, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True, check=False)
        process.communicate(timeout=30)
