"""The Helm chart of the whole of Headrace: scoring, console and worker.

PostgreSQL and object storage are those that are there. The templates are files beside this one, in which
nothing is filled in but the name of the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from headrace.delivery.targets.target import document
from headrace.delivery.watching import alert_rules
from headrace.kernel.release import VERSION

CHART = Path(__file__).with_name("chart")


def chart_files(image: str) -> dict[str, str]:
    """The files of the chart by their paths; `image` is the usual name of the image, with its tag."""
    repository, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", VERSION)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["image"] = {"repository": repository, "tag": tag, "pullPolicy": values["image"]["pullPolicy"]}
    head = {
        "apiVersion": "v2",
        "name": "headrace",
        "description": "Takes a trained machine-learning model into production and keeps it healthy there.",
        "type": "application",
        "version": VERSION,
        "appVersion": VERSION,
    }
    files = {"chart/Chart.yaml": document(head), "chart/values.yaml": _values(values)}
    files["chart/values.schema.json"] = json.dumps(schema_of(values), indent=2) + "\n"
    files["chart/alerts.yml"] = document(alert_rules())
    for path in sorted((CHART / "templates").iterdir()):
        files[f"chart/templates/{path.name}"] = path.read_text()
    return files


def _values(values: dict[str, Any]) -> str:
    """The values with the comments of the file: its head says what each is for."""
    text = (CHART / "values.yaml").read_text()
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return head + document(values)


def schema_of(value: Any) -> dict[str, Any]:
    """A JSON Schema of values like these: the same names and kinds, and no others; empty objects and lists are open."""
    if isinstance(value, dict):
        if not value:
            return {"type": "object"}
        properties = {name: schema_of(one) for name, one in value.items()}
        return {
            "type": "object",
            "properties": {**properties, "global": {"type": "object"}},
            "additionalProperties": False,
        }
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    return {"type": "array"} if isinstance(value, list) else {"type": "string"}
