"""The bill of materials of a version: CycloneDX 1.6 JSON (CycloneDX/specification, `schema/bom-1.6.schema.json`).

Written here because `cyclonedx-python-lib` knows no model cards; the tests hold it against that library's validator.
"""

from __future__ import annotations

import uuid
from typing import Any

from headrace.kernel.clock import to_text
from headrace.kernel.records import Metric, Version
from headrace.kernel.release import VERSION
from headrace.registry.environment import Environment
from headrace.runtimes.bundle import Manifest


def ml_bom(version: Version, manifest: Manifest, environment: Environment) -> dict[str, Any]:
    """The model, the snapshot that it was trained on, and the packages that its training loaded."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(version.digest[:32])}",
        "version": 1,
        "metadata": {
            "timestamp": to_text(version.created),
            "tools": {"components": [{"type": "application", "name": "headrace", "version": VERSION}]},
            "component": _model(version, manifest),
        },
        "components": [*_data(version), *_packages(environment)],
        "dependencies": _dependencies(version, environment),
    }


def _model(version: Version, manifest: Manifest) -> dict[str, Any]:
    parameters = [
        {"name": f"headrace:parameter:{name}", "value": str(value)} for name, value in manifest.params.items()
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": version.reference,
        "name": version.name,
        "version": str(version.number),
        "hashes": [{"alg": "SHA-256", "content": version.digest}],
        "properties": parameters,
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": version.task,
                "datasets": [{"ref": _data_ref(version)}] if version.lineage.snapshot else [],
                "inputs": [{"format": f"{column.name}: {column.type}"} for column in version.schema.features],
                "outputs": [{"format": "label and probabilities" if manifest.classes else "number"}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [_metric(name, metric) for name, metric in version.metrics.items()]
                + [
                    {**_metric(name, metric), "slice": f"{part.column} = {part.value}"}
                    for part in version.slices
                    for name, metric in part.metrics.items()
                ]
            },
        },
    }


def _metric(name: str, metric: Metric) -> dict[str, Any]:
    interval = {"lowerBound": f"{metric.low:.6g}", "upperBound": f"{metric.high:.6g}"}
    return {"type": name, "value": f"{metric.value:.6g}", "confidenceInterval": interval}


def _data_ref(version: Version) -> str:
    return f"snapshot:{version.lineage.snapshot[:16]}"


def _data(version: Version) -> list[dict[str, Any]]:
    lineage = version.lineage
    if not lineage.snapshot:
        return []
    return [
        {
            "type": "data",
            "bom-ref": _data_ref(version),
            "name": lineage.dataset,
            "version": lineage.snapshot[:16],
            "data": [{"type": "dataset", "name": lineage.dataset}],
            "properties": [{"name": "headrace:snapshot", "value": lineage.snapshot}],
        }
    ]


def _needed(environment: Environment) -> list[str]:
    return [name for name in environment.needed or environment.packages if name in environment.packages]


def _packages(environment: Environment) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": _package_ref(name, environment),
            "name": name,
            "version": environment.packages[name].version,
            "purl": _package_ref(name, environment),
        }
        for name in _needed(environment)
    ]


def _package_ref(name: str, environment: Environment) -> str:
    return f"pkg:pypi/{name}@{environment.packages[name].version}"


def _dependencies(version: Version, environment: Environment) -> list[dict[str, Any]]:
    on = [_package_ref(name, environment) for name in _needed(environment)]
    return [{"ref": version.reference, "dependsOn": ([_data_ref(version)] if version.lineage.snapshot else []) + on}]
