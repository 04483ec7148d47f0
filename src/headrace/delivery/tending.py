"""Tending the servers that were deployed on this machine.

What they have answered is brought home, so that it is watched like any other. They are told of a key that was made or
revoked, and of a column that may no longer be written down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace.delivery.deployments import Deployment, Deployments
from headrace.delivery.targets.process import route_text
from headrace.delivery.targets.target import Rendered
from headrace.kernel.objects import write_whole
from headrace.kernel.places import Places
from headrace.kernel.routes import CHECKING, RouteDocument
from headrace.serving.segments import share, ship_orphans


def tend(deployments: Deployments, places: Places, routes: Callable[[], RouteDocument]) -> int:
    """Tend each of them; gives the number of segments that were brought home."""
    brought = 0
    deployed = deployments.of_kind("process")
    now = routes() if deployed else None
    for deployment in deployed:
        there = Places(Path(deployment.folder) / deployment.target)
        standing = deployments.standing(deployment.model, deployment.target)
        if standing is None or now is None or not there.routes.exists():
            continue
        if there.spool.exists():
            ship_orphans(there.spool, there.predictions_outbox)
            brought += share(there.predictions_outbox, places.predictions_inbox, places.objects.put)
        told = _told(deployment, standing[1], now)
        if told is not None:
            deployments.restate(deployment.id, told)
            write_whole(there.routes, told.files[f"{deployment.target}/routes.json"].encode())
    return brought


def _told(deployment: Deployment, standing: Rendered, routes: RouteDocument) -> Rendered | None:
    """What stands there with the keys and rules as they are now; None where it has them."""
    name = f"{deployment.target}/routes.json"
    there = msgspec.json.decode(standing.files[name], type=RouteDocument)
    keys = {**routes.keys, **{text: key for text, key in there.keys.items() if key.consumer == CHECKING}}
    rules = {model: rule for model, rule in routes.rules.items() if model == deployment.model}
    if (keys, rules) == (there.keys, there.rules):
        return None
    serial = there.generation + 1
    now = RouteDocument(serial, there.endpoints, there.versions, rules, keys)
    return msgspec.structs.replace(standing, serial=serial, files={**standing.files, name: route_text(now)})
