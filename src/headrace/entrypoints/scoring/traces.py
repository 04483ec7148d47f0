"""Traces by OpenTelemetry, an extra: one span for each request, under the caller's, sent by a thread to a collector."""

from __future__ import annotations

from typing import Any

from headrace.kernel.errors import MissingExtra
from headrace.kernel.release import VERSION
from headrace.serving.app import SEEN, Seen


def traced(app: Any, endpoint: str) -> Any:
    """The callable with spans around it, sent by OTLP over HTTP to `endpoint` (such as http://127.0.0.1:4318).

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(
            "Traces need OpenTelemetry, which is not installed.", todo="Install it: pip install 'headrace[traces]'."
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "headrace", "service.version": VERSION}))
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    return Traced(app, provider)


class Traced:
    """An ASGI callable around another. Attributes follow OpenTelemetry's conventions for HTTP servers; ours begin with
    ``headrace.``, because there are none for models of this kind."""

    def __init__(self, app: Any, provider: Any) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = provider.get_tracer("headrace.scoring", VERSION)
        self._parent = TraceContextTextMapPropagator()
        self._server, self._error = SpanKind.SERVER, StatusCode.ERROR

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI 3."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        method, path = scope.get("method", ""), scope.get("path", "")
        with self._tracer.start_as_current_span(
            f"{method} {path}", context=self._parent.extract(headers), kind=self._server
        ) as span:
            span.set_attributes({"http.request.method": method, "url.path": path})

            async def noting(message: dict[str, Any]) -> None:
                if "status" in message:
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, noting)
            self._tell(span, scope.get(SEEN))

    def _tell(self, span: Any, seen: Seen | None) -> None:
        if seen is None:
            return
        if seen.consumer:
            span.set_attribute("headrace.consumer", seen.consumer)
        if seen.error is not None:
            span.set_attribute("error.type", seen.error.kind)
            span.set_status(self._error, seen.error.text)
        if seen.noted is not None:
            noted = seen.noted
            span.set_attributes(
                {
                    "headrace.model": noted.chosen.model,
                    "headrace.version": noted.chosen.version,
                    "headrace.route": noted.route,
                    "headrace.generation": noted.state.generation,
                    "headrace.rows": noted.rows.count,
                    "headrace.request": noted.id,
                }
            )
