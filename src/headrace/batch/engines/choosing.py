"""Which engine scores a job."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from headrace.batch.engines.engine import Engine
from headrace.batch.engines.local import LocalEngine
from headrace.batch.engines.on_ray import RayCluster
from headrace.batch.engines.on_spark import SparkCluster
from headrace.batch.engines.remote import ElsewhereEngine
from headrace.compiler.golden import stored_golden
from headrace.kernel.errors import InvalidInput
from headrace.kernel.ports import Scorer

ELSEWHERE = {"ray": RayCluster, "spark": SparkCluster}


def need_engine(text: str) -> tuple[str, str]:
    """An engine's name and its address.

    Raises:
        InvalidInput: there is no such engine.
    """
    name, _, address = text.partition(":")
    if name not in ("local", *ELSEWHERE) or (name == "local" and address):
        raise InvalidInput(
            f"There is no engine {text!r}.",
            field="engine",
            expected="local, ray, spark, ray:ADDRESS or spark:MASTER",
            todo="Name one of these.",
        )
    return name, address


def engine_of(
    text: str, threads: int, wanted: int, bundle: Path, digest: str, opened: Callable[[], Scorer], scratch: Path
) -> Engine:
    """The engine that a job names.

    Args:
        threads: how many work here; `wanted` is what the job says of it, 0 for nothing.
        opened: gives the scorer, for an engine of this process.
        scratch: a folder for what is not kept yet.
    """
    name, address = need_engine(text)
    if name == "local":
        return LocalEngine(threads, opened(), lambda: stored_golden(bundle).columns, scratch)
    cluster = ELSEWHERE[name]
    return ElsewhereEngine(partial(cluster, address, wanted), cluster.name, bundle, digest)
