"""What watches scoring processes from outside: alert rules of Prometheus, and a dashboard of Grafana.

Both are made of what `/metrics` counts. Drift and harm are not among it: they have owners of their own, who are told.
"""

from __future__ import annotations

from typing import Any

ALERTS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "HeadraceNobodyAnswers",
        "absent(headrace_route_generation)",
        "2m",
        "critical",
        "No scoring process was seen for two minutes",
    ),
    (
        "HeadraceErrors",
        'sum by (model) (rate(headrace_requests_total{status=~"5.."}[5m]))'
        " / sum by (model) (rate(headrace_requests_total[5m])) > 0.01",
        "5m",
        "critical",
        "{{ $labels.model }} fails {{ $value | humanizePercentage }} of its requests",
    ),
    (
        "HeadraceOverloaded",
        'sum(rate(headrace_errors_total{kind="overloaded"}[5m])) > 0',
        "5m",
        "warning",
        "Requests are refused, {{ $value | humanize }} each second: more processes are needed, or fewer callers",
    ),
    (
        "HeadraceSlow",
        "sum by (model, consumer) (rate(headrace_slow_requests_total[30m]))"
        " / sum by (model, consumer) (rate(headrace_requests_total[30m])) > 0.01",
        "10m",
        "warning",
        "{{ $labels.model }} answers {{ $labels.consumer }} later than promised in {{ $value | humanizePercentage }}",
    ),
    (
        "HeadracePredictionsLost",
        "sum(increase(headrace_dropped_captures_total[10m])) > 0",
        "0m",
        "warning",
        "{{ $value | humanize }} predictions were answered and not kept: the disk is full, or too slow",
    ),
    (
        "HeadraceRoutesDiffer",
        "max(headrace_route_generation) - min(headrace_route_generation) > 0",
        "5m",
        "warning",
        "Scoring processes follow different states of the routes for five minutes",
    ),
    (
        "HeadraceUnknownFields",
        "sum by (model) (increase(headrace_unknown_fields_total[1h])) > 0",
        "0m",
        "info",
        "Callers of {{ $labels.model }} send fields that its schema does not have",
    ),
)
"""Name, expression, for how long, severity, and what it says."""
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Requests each second, by status",
        "reqps",
        (("sum by (status) (rate(headrace_requests_total{model=~'$model'}[$__rate_interval]))", "{{status}}"),),
    ),
    (
        "Latency",
        "s",
        tuple(
            (
                f"histogram_quantile({quantile}, sum by (le) "
                "(rate(headrace_request_duration_seconds_bucket{model=~'$model'}[$__rate_interval])))",
                name,
            )
            for quantile, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    (
        "Requests each second, by version and route",
        "reqps",
        (
            (
                "sum by (model, version, route) (rate(headrace_requests_total{model=~'$model'}[$__rate_interval]))",
                "{{model}}@{{version}} {{route}}",
            ),
        ),
    ),
    (
        "Rows each second",
        "short",
        (("sum by (model) (rate(headrace_rows_total{model=~'$model'}[$__rate_interval]))", "{{model}}"),),
    ),
    (
        "Share of requests that failed",
        "percentunit",
        (
            (
                "sum by (model) (rate(headrace_requests_total{model=~'$model',status=~'5..'}[$__rate_interval]))"
                " / sum by (model) (rate(headrace_requests_total{model=~'$model'}[$__rate_interval]))",
                "{{model}}",
            ),
        ),
    ),
    (
        "Share of requests slower than promised",
        "percentunit",
        (
            (
                "sum by (consumer) (rate(headrace_slow_requests_total{model=~'$model'}[$__rate_interval]))"
                " / sum by (consumer) (rate(headrace_requests_total{model=~'$model'}[$__rate_interval]))",
                "{{consumer}}",
            ),
        ),
    ),
    (
        "Refused each second, by kind",
        "reqps",
        (("sum by (kind) (rate(headrace_errors_total[$__rate_interval]))", "{{kind}}"),),
    ),
    (
        "At work",
        "short",
        (("sum(headrace_running_requests)", "requests"), ("sum(headrace_queued_rows)", "rows that wait")),
    ),
    (
        "Predictions kept and lost, each second",
        "short",
        (
            ("sum(rate(headrace_captured_rows_total[$__rate_interval]))", "kept"),
            ("sum(rate(headrace_dropped_captures_total[$__rate_interval]))", "lost"),
        ),
    ),
    ("Generation of the routes", "short", (("headrace_route_generation", "{{instance}}"),)),
)
"""Title, unit, and the queries with their legends."""
WIDTH, HEIGHT = 12, 8


def alert_rules() -> dict[str, Any]:
    """The rules as Prometheus reads them (and its operator, as the `spec` of a PrometheusRule)."""
    rules = [
        {
            "alert": name,
            "expr": expression,
            "for": lasting,
            "labels": {"severity": severity},
            "annotations": {"summary": summary},
        }
        for name, expression, lasting, severity, summary in ALERTS
    ]
    return {"groups": [{"name": "headrace", "rules": rules}]}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana 10 and later read it; the source of data and the model are chosen on it."""
    source = {"type": "prometheus", "uid": "${source}"}
    models = "label_values(headrace_requests_total, model)"
    return {
        "uid": "headrace-scoring",
        "title": "Headrace: scoring",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "tags": ["headrace"],
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "model",
                    "type": "query",
                    "datasource": source,
                    "query": {"query": models, "refId": "models"},
                    "refresh": 2,
                    "includeAll": True,
                    "allValue": ".*",
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": [_panel(i, *panel, source) for i, panel in enumerate(PANELS)],
    }


def _panel(place: int, title: str, unit: str, queries: Any, source: dict[str, str]) -> dict[str, Any]:
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {"x": WIDTH * (place % 2), "y": HEIGHT * (place // 2), "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": "ABCDEF"[i], "datasource": source, "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(queries)
        ],
    }
