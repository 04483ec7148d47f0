"""Asking an endpoint that was deployed, as its callers will: whether it is there, with which version, and whether its
answers are those of the version's golden rows."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

import msgspec

from headrace.compiler.certificate import Form, certify
from headrace.compiler.golden import Golden
from headrace.kernel.clock import Clock
from headrace.kernel.errors import DeploymentFailed, SchemaViolation, Unavailable
from headrace.kernel.ports import Columns, Scorer
from headrace.kernel.records import Certificate
from headrace.registry.forms import answers_of

POLL_SECONDS = 0.2
ASK_SECONDS = 30.0


class Endpoint:
    """A model at an address, in the native dialect; `key` is shown where it is not empty."""

    def __init__(self, address: str, model: str, key: str = "") -> None:
        self._address = address.rstrip("/")
        self._url = f"{self._address}/models/{model}/predict"
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def ask(self, columns: Columns, rows: int) -> tuple[int, dict[str, Any]]:
        """The status and the reply to some rows.

        Raises:
            OSError: nobody answers.
        """
        records = [{name: values[i] for name, values in columns.items()} for i in range(rows)]
        request = urllib.request.Request(  # noqa: S310 - an address of the project file
            self._url, msgspec.json.encode({"rows": records}), self._headers
        )
        try:
            with urllib.request.urlopen(request, timeout=ASK_SECONDS) as response:  # noqa: S310
                return response.status, _decoded(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _decoded(error.read())

    def wait_for(self, version: int, columns: Columns, seconds: float) -> None:
        """Wait until the endpoint answers with a version.

        Args:
            columns: a row that it can answer.

        Raises:
            DeploymentFailed: it does not within the time.
        """
        until, said = time.monotonic() + seconds, "nobody answers"
        while True:
            try:
                status, reply = self.ask(columns, 1)
                if status == 200 and reply.get("version") == version:
                    return
                said = f"version {reply['version']} answers" if "version" in reply else f"{status} {reply.get('error')}"
            except OSError as error:
                said = f"nobody answers: {error}"
            if time.monotonic() > until:
                raise DeploymentFailed(
                    f"{self._url} did not answer with version {version} within {seconds:g} s: {said}{self._problem()}.",
                    todo="See the log of what runs there, and deploy again.",
                )
            time.sleep(POLL_SECONDS)

    def _problem(self) -> str:
        """What the server says of itself, where it is not well."""
        try:
            with urllib.request.urlopen(f"{self._address}/ready", timeout=ASK_SECONDS) as response:  # noqa: S310
                found = _decoded(response.read())
        except urllib.error.HTTPError as error:
            found = _decoded(error.read())
        except OSError:
            return ""
        told = found.get("problem")
        said = told.get("error") if isinstance(told, dict) else found.get("error")
        return f"; it says: {str(said).rstrip('.')}" if said else ""

    def certificate(self, golden: Golden, scorer: Scorer, clock: Clock) -> Certificate:
        """The golden rows asked here, held against the version's own answers."""

        def form(columns: Columns, rows: int) -> Any:
            status, reply = self.ask(columns, rows)
            if status == 422:
                raise SchemaViolation(str(reply.get("error")), todo=str(reply.get("todo", "See the error.")))
            if status != 200:
                raise Unavailable(f"The endpoint answered {status}: {reply.get('error')}", todo="See its log.")
            return answers_of(reply, scorer)

        forms: dict[str, Form] = {"in_process": scorer.answer, "endpoint": form}
        return certify(golden, forms, scorer.runtime, clock)


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except msgspec.MsgspecError:
        return {"error": content[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {"error": str(found)[:200]}
