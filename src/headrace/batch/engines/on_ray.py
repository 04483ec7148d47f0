"""Ray Data: chunks are rows of a dataset, and whichever machines of the cluster are free score them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headrace.batch.engines.remote import Sent, scored_there, signals_kept
from headrace.batch.excerpts import excerpt
from headrace.batch.job import Chunk
from headrace.batch.scoring import Order
from headrace.batch.sources import need
from headrace.kernel.errors import InvalidInput, Unavailable

_OURS: list[str] = []
"""The address of the cluster that this process was connected to here, and not by whoever called."""


class RayCluster:
    """The cluster at `address`, or that of the environment (RAY_ADDRESS), or one of this machine's cores. The bundle
    goes to each machine once, through Ray's store of objects. See `batch.engines.remote.Cluster`."""

    name = "Ray"

    def __init__(self, address: str, threads: int, files: bytes, digest: str, order: Order) -> None:
        self._ray = connected(address, threads)
        self._order = order
        self._digest = digest
        self._files, self._work = self._ray.put(files), self._ray.put(order)
        self.cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def said(self, wave: Sequence[Chunk]) -> Iterator[tuple[int, bytes]]:
        """See `Cluster`."""
        ray, digest, files, work = self._ray, self._digest, self._files, self._work

        def one(row: dict[str, Any]) -> dict[str, Any]:
            chunk = msgspec.msgpack.decode(row["chunk"], type=Chunk)
            sent = Sent(digest, lambda: ray.get(files))
            return {"number": chunk.number, "said": scored_there(sent, ray.get(work), chunk, row["content"] or None)}

        near = sees_files(ray)
        rows = [
            {"chunk": msgspec.msgpack.encode(chunk), "content": b"" if near else excerpt(self._order.plan, chunk)}
            for chunk in wave
        ]
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(one)
        return ((row["number"], row["said"]) for row in answered.iter_rows())

    def close(self) -> None:
        """See `Cluster`. What no one refers to any more Ray frees itself."""
        del self._files, self._work


def sees_files(ray: Any) -> bool:
    """Whether all of a cluster is this machine."""
    return len([node for node in ray.nodes() if node["Alive"]]) == 1


def connected(address: str | None, threads: int) -> Any:
    """Ray, connected to a cluster.

    Args:
        address: None for whichever cluster is connected, or else that of the environment, or of this machine's cores.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidInput: whoever called is connected to a cluster, and names another; or through Ray Client.
        Unavailable: there is no cluster at the address.
    """
    ray = need("ray", "The engine ray", "ray")
    if ray.is_initialized() and _OURS and address not in (None, *_OURS):
        ray.shutdown()
    if not ray.is_initialized():
        _OURS.clear()
        _begin(ray, address or "", threads)
        _OURS.append(address or "")
    elif address and not _OURS:
        raise InvalidInput(
            f"Ray is connected already, so it cannot be to {address}.",
            field="engine",
            expected="ray, which takes the cluster that is connected",
            todo="Leave the address out, or call ray.shutdown() before.",
        )
    if ray.util.client.ray.is_connected():
        raise InvalidInput(
            "Ray Data does not work through Ray Client (ray://).",
            field="engine",
            expected="ray:HOST:PORT, from a machine of the cluster",
            todo="Start the job there.",
        )
    data = need("ray.data", "The engine ray", "ray")
    data.DataContext.get_current().enable_progress_bars = False
    return ray


def _begin(ray: Any, address: str, threads: int) -> None:
    need("ray.data", "The engine ray", "ray")  # sets up its log, which would be written over the progress
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        with signals_kept():
            if address or not threads:
                ray.init(address or None, **options)
            else:
                _begin_small(ray, threads, options)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise Unavailable(
            f"No Ray cluster answers{f' at {address}' if address else ''}: {error}.",
            todo="See 'ray status', or correct the address; 'ray stop' forgets a cluster of this machine that is gone.",
        ) from error


def _begin_small(ray: Any, threads: int, options: dict[str, Any]) -> None:
    """A cluster of so many of this machine's cores; where the environment has one, that one as it is."""
    try:
        ray.init(num_cpus=threads, **options)
    except ValueError as error:
        if "num_cpus" not in str(error):
            raise
        ray.init(**options)
