"""The whole of Headrace on one machine, as Docker Compose starts it.

PostgreSQL, a server that speaks S3, scoring, worker, console, Prometheus and Grafana.

Secrets stand in `.env`, which is made once; nothing else here is secret. Ports are open to this machine alone.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from headrace.delivery.targets.target import document
from headrace.delivery.watching import alert_rules, dashboard

POSTGRES = "docker.io/library/postgres:16"
STORAGE = "docker.io/versity/versitygw:v1.8.0"
PROMETHEUS = "docker.io/prom/prometheus:v3.5.0"
GRAFANA = "docker.io/grafana/grafana:12.1.1"
BUCKET = "headrace"
SECRETS = ("POSTGRES_PASSWORD", "STORAGE_SECRET", "GRAFANA_PASSWORD")
KEY = "/etc/headrace/prometheus.key"
HEALTHY = {"interval": "2s", "timeout": "5s", "retries": 60}


def compose_files(image: str) -> dict[str, str]:
    """The files of the set-up by their paths; `image` is the name that the image of Headrace gets."""
    return {
        "compose.yaml": document(_compose(image)),
        "prometheus/prometheus.yml": document(_prometheus()),
        "prometheus/alerts.yml": document(alert_rules()),
        "grafana/datasources/prometheus.yml": document(
            {
                "apiVersion": 1,
                "datasources": [
                    {"name": "Prometheus", "type": "prometheus", "url": "http://prometheus:9090", "isDefault": True}
                ],
            }
        ),
        "grafana/providers/headrace.yml": document(
            {
                "apiVersion": 1,
                "providers": [{"name": "headrace", "type": "file", "options": {"path": "/etc/grafana/dashboards"}}],
            }
        ),
        "grafana/dashboards/scoring.json": json.dumps(dashboard(), indent=2) + "\n",
    }


def secret_file() -> str:
    """The file `.env` with fresh secrets."""
    lines = [f"{name}={secrets.token_urlsafe(24)}" for name in SECRETS]
    return (
        "\n".join(["# Made once by 'headrace platform'; keep it.", *lines, "CONSOLE_PORT=8080", "SCORING_PORT=8000"])
        + "\n"
    )


def _compose(image: str) -> dict[str, Any]:
    return {
        "name": "headrace",
        "services": {**_stores(), **_ours(image), **_watchers()},
        "volumes": {name: {} for name in ("postgres", "storage", "bucket", "keys", "prometheus", "grafana")},
    }


def _stores() -> dict[str, Any]:
    return {
        "postgres": {
            "image": POSTGRES,
            "environment": {
                "POSTGRES_USER": "headrace",
                "POSTGRES_DB": "headrace",
                "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:?see .env}",
            },
            "volumes": ["postgres:/var/lib/postgresql/data"],
            "healthcheck": {"test": ["CMD", "pg_isready", "--username", "headrace"], **HEALTHY},
            "restart": "unless-stopped",
        },
        "storage": {
            "image": STORAGE,
            "environment": {
                "ROOT_ACCESS_KEY": "headrace",
                "ROOT_SECRET_KEY": "${STORAGE_SECRET:?see .env}",
                "VGW_PORT": ":7070",
                "VGW_HEALTH": "/health",
            },
            "command": ["posix", "/data"],
            "volumes": ["storage:/data", f"bucket:/data/{BUCKET}"],
            "healthcheck": {"test": ["CMD", "wget", "-q", "-O-", "http://127.0.0.1:7070/health"], **HEALTHY},
            "restart": "unless-stopped",
        },
    }


def _ours(image: str) -> dict[str, Any]:
    return {
        "setup": {
            **_headrace(image, "keys", "create", "--consumer", "prometheus", "--to", KEY),
            "build": {"context": "image", "dockerfile": "Containerfile"},
            "volumes": ["keys:/etc/headrace"],
            "depends_on": {name: {"condition": "service_healthy"} for name in ("postgres", "storage")},
        },
        "worker": {**_headrace(image, "worker"), **_after_setup()},
        "scoring": {
            **_headrace(image, "serve", "--host", "0.0.0.0", "--port", "8000", "--grpc-port", "off"),  # noqa: S104
            **_after_setup(),
            "ports": ["127.0.0.1:${SCORING_PORT:-8000}:8000"],
            "healthcheck": _probed(8000),
        },
        "console": {
            **_headrace(image, "console", "--host", "0.0.0.0", "--port", "8080"),  # noqa: S104
            **_after_setup(),
            "ports": ["127.0.0.1:${CONSOLE_PORT:-8080}:8080"],
        },
    }


def _watchers() -> dict[str, Any]:
    return {
        "prometheus": {
            "image": PROMETHEUS,
            "volumes": [
                "./prometheus:/etc/prometheus:ro",
                "keys:/etc/headrace:ro",
                "prometheus:/prometheus",
            ],
            "ports": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
            **_after_setup(),
        },
        "grafana": {
            "image": GRAFANA,
            "environment": {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:?see .env}"},
            "volumes": [
                "./grafana/datasources:/etc/grafana/provisioning/datasources:ro",
                "./grafana/providers:/etc/grafana/provisioning/dashboards:ro",
                "./grafana/dashboards:/etc/grafana/dashboards:ro",
                "grafana:/var/lib/grafana",
            ],
            "ports": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
            "restart": "unless-stopped",
        },
    }


def _headrace(image: str, *words: str) -> dict[str, Any]:
    """A service that is Headrace: nobody, on a file system that only its cache can be written in. What scores needs the
    storage alone, and does not know the database."""
    database, place = (
        "postgresql://headrace:${POSTGRES_PASSWORD:?see .env}@postgres:5432/headrace",
        f"s3://{BUCKET}/workspace",
    )
    return {
        "image": image,
        "command": list(words),
        "environment": {
            "HEADRACE_WORKSPACE": place if words[0] == "serve" else f"{database}?objects={place}",
            "AWS_ENDPOINT_URL": "http://storage:7070",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "headrace",
            "AWS_SECRET_ACCESS_KEY": "${STORAGE_SECRET:?see .env}",
        },
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp", "/var/lib/headrace:uid=65532,gid=65532"],  # noqa: S108 - of the container
    }


def _after_setup() -> dict[str, Any]:
    return {"depends_on": {"setup": {"condition": "service_completed_successfully"}}, "restart": "unless-stopped"}


def _probed(port: int) -> dict[str, Any]:
    words = ["CMD", "python3", "-m", "headrace.entrypoints.scoring.probe", "127.0.0.1", str(port), "/health"]
    return {"test": words, **HEALTHY}


def _prometheus() -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "headrace",
                "authorization": {"credentials_file": KEY},
                "static_configs": [{"targets": ["scoring:8000"]}],
            }
        ],
    }
