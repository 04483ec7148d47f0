"""Runs as OpenLineage events (OpenLineage/OpenLineage, `spec/OpenLineage.json`), to a URL or appended to a file.

A START when a run begins; a COMPLETE, FAIL or ABORT when it ends, with the snapshot it read and the version it made.
An event that cannot be delivered is said in the worker's log; no run waits or fails for it.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import msgspec

from headrace.kernel.clock import Clock, to_text
from headrace.kernel.records import Run
from headrace.kernel.release import VERSION

PRODUCER = f"urn:headrace:{VERSION}"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
ENDS = {"done": "COMPLETE", "failed": "FAIL", "cancelled": "ABORT"}
SECONDS = 5.0


class OpenLineage:
    """Sends events to `target`: an ``http(s)://`` URL, the path of a file, or nowhere where it is empty."""

    def __init__(self, target: str, namespace: str, clock: Clock) -> None:
        self._target = target
        self._namespace = namespace
        self._clock = clock

    def began(self, run: Run) -> None:
        """Say that a run began."""
        self._send("START", run)

    def ended(self, run: Run) -> None:
        """Say how a run ended."""
        self._send(ENDS.get(run.status, "OTHER"), run)

    def _send(self, kind: str, run: Run) -> None:
        if not self._target:
            return
        content = msgspec.json.encode(run_event(kind, run, self._namespace, to_text(self._clock())))
        try:
            if self._target.startswith(("http://", "https://")):
                headers = {"content-type": "application/json"}
                with urllib.request.urlopen(urllib.request.Request(self._target, content, headers), timeout=SECONDS):  # noqa: S310
                    return
            with Path(self._target).open("ab") as file:
                file.write(content + b"\n")
        except (OSError, urllib.error.URLError, ValueError) as error:
            print(f"openlineage: {kind} of run {run.id} was not delivered: {error}", file=sys.stderr, flush=True)


def run_event(kind: str, run: Run, namespace: str, time: str) -> dict[str, Any]:
    """One event of a run."""
    facets: dict[str, Any] = {}
    if run.parent:
        parent = {"run": {"runId": _run_id(run.parent)}, "job": {"namespace": namespace, "name": run.model}}
        facets["parent"] = {**_facet("1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet"), **parent}
    if run.error:
        said = {"message": str(run.error.get("error", "")), "programmingLanguage": "python"}
        facets["errorMessage"] = {**_facet("1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"), **said}
    return {
        "eventType": kind,
        "eventTime": time,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {"runId": _run_id(run.id), "facets": facets},
        "job": {"namespace": namespace, "name": f"{run.model}.{run.kind}", "facets": _code(run)},
        "inputs": [_dataset(namespace, f"{run.model}.data", run.snapshot)] if run.snapshot else [],
        "outputs": [_dataset(namespace, run.model, f"{run.model}@{run.version}")] if run.version else [],
    }


def _run_id(run: str) -> str:
    """OpenLineage wants a UUID; a trial's id is its sweep's with a number."""
    try:
        return str(uuid.UUID(run))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, run))


def _code(run: Run) -> dict[str, Any]:
    if not run.code:
        return {}
    facet = _facet("1-0-1/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet")
    return {"sourceCodeLocation": {**facet, "type": "sha256", "url": f"urn:sha256:{run.code}", "version": run.code}}


def _dataset(namespace: str, name: str, version: str) -> dict[str, Any]:
    facet = _facet("1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet")
    return {"namespace": namespace, "name": name, "facets": {"version": {**facet, "datasetVersion": version}}}


def _facet(path: str) -> dict[str, str]:
    return {"_producer": PRODUCER, "_schemaURL": f"https://openlineage.io/spec/facets/{path}"}
