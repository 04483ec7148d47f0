"""A real PostgreSQL and a real server that speaks S3, each in a process of its own, for as long as a test session."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.clients import PYTHON, absent

BUCKET = "headrace"


class Shared(NamedTuple):
    """Where workspaces of PostgreSQL and object storage can be made."""

    postgres: int
    s3: int

    @property
    def environment(self) -> dict[str, str]:
        """What reaches the storage."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.s3}",
            "AWS_ALLOW_HTTP": "true",
        }

    def fresh(self) -> str:
        """The address of a workspace that is not there yet."""
        import psycopg

        name = f"ws{uuid.uuid4().hex[:16]}"
        with psycopg.connect(self.database("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"{self.database(name)}?objects=s3://{BUCKET}/{name}"

    def database(self, name: str) -> str:
        """The address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.postgres}/{name}"


@contextlib.contextmanager
def shared_servers(folder: Path) -> Iterator[Shared]:
    """Both servers, until the end of the block."""
    with postgres_server() as database, s3_server(folder / "s3.log") as storage:
        yield Shared(database, storage)


@contextlib.contextmanager
def postgres_server() -> Iterator[int]:
    """A PostgreSQL of its own on 127.0.0.1; its port. As root it runs as the user postgres, as it demands."""
    initdb = _postgres("initdb")
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-", ignore_cleanup_errors=True) as place:
        folder, port = Path(place), free_port()
        if user:
            shutil.chown(folder, "postgres", "postgres")
        made = [str(initdb), "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]
        subprocess.run([*user, *made], check=True, capture_output=True, cwd="/")
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        options |= {"max_connections": 300, "shared_buffers": "64MB"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            server = [*user, str(initdb.with_name("postgres")), "-D", f"{folder}/data", *words]
            process = subprocess.Popen(server, stdout=log, stderr=log, cwd="/")
        try:
            _until_open(port, process, folder / "log")
            _until_ready(port)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _until_ready(port: int) -> None:
    """Wait until the database takes connections: its port is open some time before."""
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def s3_server(log: Path) -> Iterator[int]:
    """A server that speaks S3 (moto's), with one empty bucket; its port."""
    moto = PYTHON.with_name("moto_server")
    if not moto.exists():
        absent("s3", "no S3 server is installed: make .venv/clients.done")
    port = free_port()
    with log.open("wb") as output:
        words = [str(moto), "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        _until_open(port, process, log)
        bucket = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(bucket, timeout=30):
            pass
        yield port
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _postgres(program: str) -> Path:
    places = [*Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), shutil.which(program)]
    found = next((Path(place) for place in places if place), None)
    if found is None:
        absent("postgres", "PostgreSQL is not installed")
    assert found is not None
    return found.resolve()


def _until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    from tests.conftest import eventually

    def ready() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(ready, 60)


if __name__ == "__main__":
    with shared_servers(Path(sys.argv[1])) as servers:
        print(servers.postgres, servers.s3, flush=True)
        while True:
            time.sleep(60)
