"""Bringing home what servers that were deployed on this machine have answered, so that it is watched like any other."""

from __future__ import annotations

from pathlib import Path

from headrace.delivery.deployments import Deployments
from headrace.kernel.places import Places
from headrace.serving.segments import share, ship_orphans


def bring_home(deployments: Deployments, places: Places) -> int:
    """Move the captures of deployed processes to the workspace's inbox; gives the number of segments."""
    brought = 0
    for deployment in deployments.of_kind("process"):
        there = Places(Path(deployment.folder) / deployment.target)
        if there.spool.exists():
            ship_orphans(there.spool, there.predictions_outbox)
            brought += share(there.predictions_outbox, places.predictions_inbox, places.objects.put)
    return brought
