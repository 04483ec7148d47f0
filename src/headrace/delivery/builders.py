"""Programs that build, push and run images: docker, podman and buildah, whichever is there.

Times in an image are all the same (the beginning of 1970), so that the same context gives the same digest; docker keeps
those of the build.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from headrace.kernel.errors import InvalidInput, Unavailable

BUILDERS = ("docker", "podman", "buildah")
TAG = re.compile(r"[a-z0-9](?:[A-Za-z0-9._:/-]{0,254})\Z")
BUILT = "See what it says; the build context is kept."


def works(program: str) -> bool:
    """Whether a program is there and, where it needs a server, reaches it."""
    if shutil.which(program) is None:
        return False
    if program != "docker":
        return True
    return subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0


def builder_of(wanted: str) -> str:
    """The builder that is named, or else the first that works; empty where none does.

    Raises:
        InvalidInput: there is no builder of this name.
        Unavailable: it does not work here.
    """
    if not wanted:
        return next((name for name in BUILDERS if works(name)), "")
    if wanted not in BUILDERS:
        raise InvalidInput(
            f"{wanted!r} builds no images.", field="builder", expected=", ".join(BUILDERS), todo="Name one of these."
        )
    if not works(wanted):
        raise Unavailable(
            f"{wanted} does not work here.", todo="Install or start it, or leave --builder out to take another."
        )
    return wanted


def need_tag(tag: str) -> str:
    """The tag itself.

    Raises:
        InvalidInput: it is no name of an image.
    """
    if not TAG.match(tag):
        raise InvalidInput(
            f"{tag!r} is no name of an image.", field="tag", expected="such as late-arrival:3", todo="Correct it."
        )
    return tag


def build_command(builder: str, context: Path, tag: str, platform: str, options: str) -> list[str]:
    """What builds an image.

    Args:
        options: more words for the builder, as a shell reads them.
    """
    more = shlex.split(options)
    if builder == "docker":
        words = ["docker", "build", "--tag", tag, "--platform", platform]
        return [*words, *more, "--file", str(context / "Containerfile"), str(context)]
    verb = ["podman", "build"] if builder == "podman" else ["buildah", "build"]
    words = [*verb, "--timestamp", "0", "--format", "oci", "--tag", tag, "--platform", platform]
    return [*words, *more, "--file", str(context / "Containerfile"), str(context)]


def push_command(builder: str, tag: str, digest: Path, options: str) -> list[str]:
    """What sends an image to its registry.

    Args:
        digest: the file that buildah and podman write its digest there to.
        options: more words for the builder, as a shell reads them.
    """
    told = [] if builder == "docker" else ["--digestfile", str(digest)]
    return [builder, "push", *told, *shlex.split(options), tag]


def pushed_digest(tag: str, digest: Path) -> str:
    """The digest of an image in its registry, once it was sent."""
    if digest.exists():
        return digest.read_text().strip()
    command = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().partition("@")[2]


def digest_of(builder: str, tag: str) -> str:
    """The digest of an image that was built."""
    if builder == "buildah":
        command = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", tag]
    elif builder == "podman":
        command = ["podman", "image", "inspect", "--format", "{{.Digest}}", tag]
    else:
        command = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{tag} was built and is not there: {done.stderr.strip()}", todo="See the builder's storage.")
    return done.stdout.strip()
