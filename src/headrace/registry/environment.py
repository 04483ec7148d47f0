"""The environment that a version was made in: packages with versions and hashes, Python, threads, CPU."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from operator import itemgetter
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

from headrace.kernel.digests import digest_bytes

INSTALLERS_OWN = (".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", ".dist-info/direct_url.json")
OURS = "headrace"


class Package(msgspec.Struct, frozen=True):
    """An installed distribution; `content` is the SHA-256 of its files' hashes, as its RECORD lists them.

    What differs between two installations of the same files (scripts, bytecode, the installer's notes) is left out.
    """

    version: str
    content: str = ""


class Environment(msgspec.Struct, frozen=True):
    """What may change a model's figures without a line of code changing. `needed` names what training loaded."""

    python: str
    implementation: str
    platform: str
    cpu: str
    cores: int
    threads: dict[str, str]
    packages: dict[str, Package]
    needed: tuple[str, ...] = ()


def record_environment(threads: dict[str, str], needed: Iterable[str] = ()) -> Environment:
    """This process's environment; `threads` are the thread counts that were set for training."""
    return Environment(
        python=sys.version.split()[0],
        implementation=platform.python_implementation(),
        platform=platform.platform(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=threads,
        packages=_packages(),
        needed=tuple(sorted(needed)),
    )


def normal(name: str) -> str:
    """A distribution's name as indexes write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def loaded_distributions() -> list[str]:
    """The distributions of which a module is loaded here, those that Headrace needs, and what they all require."""
    owners = metadata.packages_distributions()
    tops = {name.partition(".")[0] for name in sys.modules}
    return sorted(with_required([OURS, *{owner for top in tops for owner in owners.get(top, ())}]))


def with_required(names: Iterable[str]) -> set[str]:
    """Those of the distributions that are installed here, with all that they require: extras too, where one asks for
    another with them (``sqlalchemy[asyncio]``)."""
    wanted = [(normal(name), "") for name in names]
    seen: set[tuple[str, str]] = set()
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        seen.add((name, extra))
        for one in map(Requirement, required):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                wanted += [(normal(one.name), each) for each in ("", *one.extras)]
    return {name for name, _ in seen}


def _packages() -> dict[str, Package]:
    """What is installed, by name in their order; of two of one name that which is imported, the first."""
    found: dict[str, Package] = {}
    for distribution in metadata.distributions():
        name = normal(distribution.metadata["Name"])
        if name not in found:
            found[name] = Package(distribution.version, _content(distribution.read_text("RECORD") or ""))
    return dict(sorted(found.items(), key=itemgetter(0)))


def _content(record: str) -> str:
    lines = [line for line in record.splitlines() if ",sha256=" in line and not line.startswith("..")]
    kept = sorted(line for line in lines if not line.split(",")[0].endswith((*INSTALLERS_OWN, ".pyc")))
    return digest_bytes("\n".join(kept).encode()) if kept else ""


def requirements(environment: Environment) -> str:
    """What training needed (all packages, where that is not known) as exact pins, one a line; Headrace left out."""
    names = environment.needed or tuple(environment.packages)
    pins = [f"{name}=={environment.packages[name].version}\n" for name in names if name in environment.packages]
    return "".join(pin for pin in pins if not pin.startswith(f"{OURS}=="))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
