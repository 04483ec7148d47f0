"""Ray Data: chunks are rows of a dataset, and whichever machines of the cluster are free score them."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.batch.engines.engine import Keep
from headrace.batch.engines.remote import TURN, Sent, failed, kept, packed, scored_there, waves
from headrace.batch.excerpts import excerpt
from headrace.batch.job import Chunk, Counts
from headrace.batch.scoring import Order
from headrace.batch.sources import need
from headrace.kernel.errors import Unavailable

EACH = 8
"""Chunks a core at a time; what they give waits in the cluster's memory until it is kept here."""


class RayEngine:
    """Scores chunks on a Ray cluster: the one at `address`, or that of the environment (RAY_ADDRESS), or one of this
    machine's cores. See `batch.engines.engine.Engine`."""

    turn = TURN

    def __init__(self, bundle: Path, digest: str, address: str, threads: int) -> None:
        self._bundle = bundle
        self._digest = digest
        self._address = address
        self._threads = threads

    def scored(self, chunks: Sequence[Chunk], order: Order, keep: Keep) -> Generator[tuple[Chunk, Counts]]:
        """See `Engine`. The bundle goes to each machine once, through Ray's store of objects."""
        ray = connected(self._address, self._threads)
        digest, files, work = self._digest, ray.put(packed(self._bundle)), ray.put(order)
        near = sees_files(ray, self._address)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            chunk = msgspec.msgpack.decode(row["chunk"], type=Chunk)
            sent = Sent(digest, lambda: ray.get(files))
            return {"number": chunk.number, "said": scored_there(sent, ray.get(work), chunk, row["content"] or None)}

        for wave in waves(chunks, EACH * max(1, int(ray.cluster_resources().get("CPU", 1)))):
            rows = [
                {"chunk": msgspec.msgpack.encode(chunk), "content": b"" if near else excerpt(order.plan, chunk)}
                for chunk in wave
            ]
            answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(one)
            yield from kept(wave, _rows(answered), keep)


def sees_files(ray: Any, address: str) -> bool:
    """Whether all of a cluster is this machine."""
    return not address.startswith("ray://") and len([node for node in ray.nodes() if node["Alive"]]) == 1


def _rows(answered: Any) -> Iterator[tuple[int, bytes]]:
    rows = iter(answered.iter_rows())
    while True:
        try:
            row = next(rows, None)
        except Exception as error:  # Ray raises what the task raised, and much else
            raise failed("Ray", error) from error
        if row is None:
            return
        yield row["number"], row["said"]


def connected(address: str, threads: int) -> Any:
    """Ray, connected to a cluster.

    Raises:
        MissingExtra: Ray is not installed.
        Unavailable: there is no cluster at the address.
    """
    ray = need("ray", "The engine ray", "ray")
    if not ray.is_initialized():
        _begin(ray, address, threads)
    data = need("ray.data", "The engine ray", "ray")
    data.DataContext.get_current().enable_progress_bars = False
    return ray


def _begin(ray: Any, address: str, threads: int) -> None:
    need("ray.data", "The engine ray", "ray")  # sets up its log, which would be written over the progress
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        if address:
            ray.init(address, **options)
        else:
            ray.init(include_dashboard=False, num_cpus=threads or None, **options)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise Unavailable(
            f"No Ray cluster answers{f' at {address}' if address else ''}: {error}.",
            todo="See 'ray status', or correct the address.",
        ) from error
