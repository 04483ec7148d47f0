"""The environment that a version was made in: packages with versions and hashes, Python, threads, CPU."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import msgspec

from headrace.kernel.digests import digest_bytes


class Package(msgspec.Struct, frozen=True):
    """An installed distribution; `record` is the SHA-256 of its RECORD, which lists the hash of each of its files."""

    version: str
    record: str


class Environment(msgspec.Struct, frozen=True):
    """What may change a model's figures without a line of code changing."""

    python: str
    implementation: str
    platform: str
    cpu: str
    cores: int
    threads: dict[str, str]
    packages: dict[str, Package]


def record_environment(threads: dict[str, str]) -> Environment:
    """This process's environment; `threads` are the thread counts that were set for training."""
    return Environment(
        python=sys.version.split()[0],
        implementation=platform.python_implementation(),
        platform=platform.platform(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        threads=threads,
        packages=dict(sorted(_packages())),
    )


def _packages() -> list[tuple[str, Package]]:
    found: list[tuple[str, Package]] = []
    for distribution in metadata.distributions():
        content = distribution.read_text("RECORD")
        record = digest_bytes(content.encode()) if content else ""
        found.append((distribution.metadata["Name"].lower(), Package(distribution.version, record)))
    return found


def requirements(environment: Environment) -> str:
    """The packages as exact pins, one a line."""
    return "".join(f"{name}=={package.version}\n" for name, package in environment.packages.items())


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
