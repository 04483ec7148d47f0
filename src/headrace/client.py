"""A typed client of a scoring server, for ordinary and asynchronous code; the extra `client` has what it needs."""

from __future__ import annotations

from headrace.entrypoints.client.answers import Answer, Prediction
from headrace.entrypoints.client.calling import AsyncClient, Client

__all__ = ["Answer", "AsyncClient", "Client", "Prediction"]
