"""The forms of a version that are installed here: how each one answers the golden rows.

`in_process` loads the bundle in this process. `rest` starts a scoring process of its own on the bundle and asks
it over HTTP, as any client would.
"""

from __future__ import annotations

import http.client
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.compiler.certificate import Form
from headrace.kernel.errors import SchemaViolation, Unavailable
from headrace.kernel.ports import Answers, Columns, Scorer
from headrace.runtimes.opening import open_bundle

START_SECONDS = 60


@contextmanager
def installed_forms(folder: Path, digest: str) -> Iterator[Mapping[str, Form]]:
    """Every form that can be asked here, for the bundle in `folder`."""
    scorer = open_bundle(folder, digest)
    command = [sys.executable, "-m", "headrace", "serve", "--json", "--port", "0"]
    command += ["--bundle", str(folder), "--digest", digest]
    with answering(command, scorer) as form:
        yield {"in_process": scorer.answer, "rest": form}


@contextmanager
def answering(command: list[str], scorer: Scorer) -> Iterator[Form]:
    """How a process answers over HTTP that says its port as `headrace serve --json` does.

    Args:
        scorer: says of which kind the answers are.

    Raises:
        Unavailable: it did not start.
    """
    with _scoring_process(command) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            yield _RestForm(connection, scorer).answer
        finally:
            connection.close()


class _RestForm:
    def __init__(self, connection: http.client.HTTPConnection, scorer: Scorer) -> None:
        self._connection = connection
        self._scorer = scorer

    def answer(self, columns: Columns, rows: int) -> Answers:
        """What a client gets: JSON out, JSON in."""
        records = [{name: values[i] for name, values in columns.items()} for i in range(rows)]
        self._connection.request("POST", "/predict", msgspec.json.encode({"rows": records}))
        response = self._connection.getresponse()
        reply: dict[str, Any] = msgspec.json.decode(response.read())
        if response.status == 422:
            raise SchemaViolation(str(reply["error"]), todo=str(reply["todo"]))
        if response.status != 200:
            raise Unavailable(
                f"The REST form answered {response.status}: {reply.get('error')}",
                todo=str(reply.get("todo", "See the error.")),
            )
        return answers_of(reply, self._scorer)


def answers_of(reply: dict[str, Any], scorer: Scorer) -> Answers:
    """The answers in a reply of the native dialect; the scorer says of which kind they are."""
    answered = reply["predictions"]
    predictions = [row["prediction"] for row in answered]
    if scorer.task == "regression":
        predictions = [[float(v) for v in p] if isinstance(p, list) else float(p) for p in predictions]
    if "probabilities" not in answered[0]:
        return Answers(predictions, None)
    return Answers(predictions, [list(row["probabilities"].values()) for row in answered])


@contextmanager
def _scoring_process(command: list[str]) -> Iterator[int]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=_one_thread())
        try:
            yield _announced_port(process, said)
        finally:
            process.terminate()
            process.communicate()


def _announced_port(process: subprocess.Popen[bytes], said: IO[bytes]) -> int:
    stream = process.stdout
    line = stream.readline() if stream and select.select([stream], [], [], START_SECONDS)[0] else b""
    document = msgspec.json.decode(line) if line else {}
    if "port" not in document:
        said.seek(0)
        text = document.get("error") or said.read().decode(errors="replace").strip()[-500:]
        raise Unavailable(
            f"The scoring process did not start within {START_SECONDS} s: {text}",
            todo=document.get("todo", "Mend this and certify again."),
        )
    return document["port"]


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
