"""A compose file without docker: the same processes, with the same words and environments, on this machine.

Names of services become addresses of this machine, and volumes become folders. What an image would start is taken from here:
PostgreSQL, Prometheus, and versitygw (or moto, where Go could not build it) from the machine; Headrace from the build
context of its own image, by a Python that has no other packages. Grafana is not to be had here, and left out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.clients import PYTHON, absent
from tests.conftest import eventually
from tests.servers import _postgres, free_port

LEFT_OUT = ("grafana",)
INSIDE = {"postgres": 5432, "storage": 7070, "scoring": 8000, "console": 8080, "prometheus": 9090}
"""At which port each service listens in its container."""


class Composed:
    """The services of a compose file, as processes."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.ports = {name: free_port() for name in INSIDE}
        text = (folder / "compose.yaml").read_text()
        known = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if "=" in line)
        text = re.sub(r"\$\{(\w+)(?:(:\?|:-)([^}]*))?\}", lambda found: self._value(found, known), text)
        self.document = yaml.safe_load(text)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = contextlib.ExitStack()

    def _value(self, found: re.Match[str], known: dict[str, str]) -> str:
        name, sign, default = found.groups()
        value = known.get(name) or (default if sign == ":-" else "")
        assert value, f"{name} is set nowhere"
        return value

    def url(self, service: str) -> str:
        """Where a service is reached."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def environment(self, service: str) -> dict[str, str]:
        """What a service has in its environment."""
        given = self.document["services"][service].get("environment", {})
        return {name: self._here(str(value), service) for name, value in given.items()}

    def _here(self, text: str, service: str) -> str:
        """A text of a container as it must be on this machine: names, ports of its own, paths of its volumes."""
        for name, port in INSIDE.items():
            text = re.sub(rf"\b{name}:{port}\b", f"127.0.0.1:{self.ports[name]}", text)
        mounts = self._mounts(service)
        inside = "|".join(re.escape(place) for place in sorted(mounts, key=len, reverse=True))
        return (
            re.sub(rf"(?<![\w.])(?:{inside})(?![\w-])", lambda found: str(mounts[found[0]]), text) if inside else text
        )

    def _mounts(self, service: str) -> dict[str, Path]:
        found = {}
        for volume in self.document["services"][service].get("volumes", []):
            source, inside = volume.split(":")[:2]
            here = self.scratch / (source.lstrip("./") if source.startswith(".") else f"volumes/{source}")
            if source.startswith(".") and not here.exists():
                shutil.copytree(self.folder / source, here)
            here.mkdir(parents=True, exist_ok=True)
            found[inside] = here
        return found

    def headrace(self, service: str, *words: str) -> list[str]:
        """The words that run Headrace of its image."""
        python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        return [str(python), "-m", "headrace", *words]

    def around(self, service: str) -> dict[str, str]:
        """The whole environment of a service that is Headrace."""
        home = self.scratch / "home" / service
        home.mkdir(parents=True, exist_ok=True)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "AWS_", "PYTHON"))
        }
        site = {"PYTHONPATH": str(self.folder / "image/site"), "HOME": str(home), "HEADRACE_CACHE": str(home / "cache")}
        return {**kept, **site, **self.environment(service)}

    def run(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """``docker compose run SERVICE WORDS``."""
        command = self.headrace(service, *words)
        return subprocess.run(
            command,
            env=self.around(service),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=self.scratch,
        )

    def up(self) -> None:
        """Start everything in the order of what waits for what."""
        waiting = {name: one for name, one in self.document["services"].items() if name not in LEFT_OUT}
        done: set[str] = set()
        while waiting:
            ready = [name for name, one in waiting.items() if set(one.get("depends_on", {})) <= done]
            assert ready, f"these wait for each other: {', '.join(waiting)}"
            for name in ready:
                self._start(name, waiting.pop(name))
                done.add(name)

    def _start(self, name: str, service: dict[str, Any]) -> None:
        if name == "postgres":
            self._start_postgres(self.environment(name))
        elif name == "storage":
            self._start_storage(service)
        elif name == "prometheus":
            self._start_prometheus(service)
        elif service.get("restart"):
            words = [self._own(word, name) for word in service["command"]]
            self._spawn(name, self.headrace(name, *words), self.around(name))
            if name in self.ports:
                self._until_answers(name)
        else:
            words = [self._here(word, name) for word in service["command"]]
            for _ in range(2):  # a container that has ended is started once more with each `up`
                ended = self.run(name, *words)
                assert ended.returncode == 0, ended.stderr

    def _own(self, word: str, name: str) -> str:
        """A word of a server: it listens at its port of this machine."""
        return str(self.ports[name]) if word == str(INSIDE.get(name)) else self._here(word, name)

    def _spawn(self, name: str, words: list[str], environment: dict[str, str]) -> None:
        with (self.scratch / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.scratch
            )

    def _until_answers(self, name: str, path: str = "/") -> None:
        log = self.scratch / f"{name}.log"

        def answers() -> bool:
            assert self.running[name].poll() is None, log.read_text(errors="replace")[-3000:]
            try:
                urllib.request.urlopen(self.url(name) + path, timeout=5).close()
            except urllib.error.HTTPError as error:
                error.close()
                return error.code < 500 or name == "scoring"
            except OSError:
                return False
            return True

        eventually(answers, 90)

    def _start_postgres(self, environment: dict[str, str]) -> None:
        initdb = _postgres("initdb")
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-postgres-")))
        if user:
            shutil.chown(place, "postgres", "postgres")
        secret = place / "secret"
        secret.write_text(environment["POSTGRES_PASSWORD"])
        secret.chmod(0o644)
        made = [str(initdb), "-D", f"{place}/data", "-U", environment["POSTGRES_USER"], "--auth=scram-sha-256"]
        made += ["--pwfile", str(secret), "-E", "UTF8", "--locale=C"]
        subprocess.run([*user, *made], check=True, capture_output=True, cwd="/")
        words = ["-c", f"port={self.ports['postgres']}", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        words += ["-c", f"unix_socket_directories={place}", "-c", "max_connections=100"]
        self._spawn(
            "postgres", [*user, str(initdb.with_name("postgres")), "-D", f"{place}/data", *words], {**os.environ}
        )
        import psycopg

        address = f"postgresql://{environment['POSTGRES_USER']}:{environment['POSTGRES_PASSWORD']}@127.0.0.1"

        def made_database() -> bool:
            try:
                with psycopg.connect(f"{address}:{self.ports['postgres']}/postgres", autocommit=True) as connection:
                    connection.execute(f'CREATE DATABASE "{environment["POSTGRES_DB"]}"'.encode())
            except psycopg.OperationalError:
                return False
            return True

        eventually(made_database, 60)

    def _start_storage(self, service: dict[str, Any]) -> None:
        gateway = shutil.which("versitygw") or shutil.which("versitygw", path=str(Path.home() / "go/bin"))
        words = [self._here(word, "storage") for word in service["command"]]
        for inside, here in self._mounts("storage").items():  # a volume within another is a folder of it
            if inside != "/data":
                shutil.rmtree(here)
                (self._mounts("storage")["/data"] / Path(inside).name).mkdir(exist_ok=True)
        environment = {**os.environ, **self.environment("storage"), "VGW_PORT": f"127.0.0.1:{self.ports['storage']}"}
        if gateway is not None:
            self._spawn("storage", [gateway, *words], environment)
            self._until_answers("storage", environment["VGW_HEALTH"])
            return
        if "versitygw" in os.environ.get("HEADRACE_REQUIRE", "").split(","):
            absent("versitygw", "versitygw is not installed")
        moto = PYTHON.with_name("moto_server")
        if not moto.exists():
            absent("s3", "no S3 server is installed")
        self._spawn("storage", [str(moto), "-H", "127.0.0.1", "-p", str(self.ports["storage"])], {**os.environ})
        self._until_answers("storage", "/moto-api/")
        request = urllib.request.Request(f"{self.url('storage')}/headrace", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def _start_prometheus(self, service: dict[str, Any]) -> None:
        program = shutil.which("prometheus") or absent("promtool", "Prometheus is not installed")
        mounts = self._mounts("prometheus")
        config = mounts["/etc/prometheus"] / "prometheus.yml"
        text = self._here(config.read_text(), "prometheus").replace("15s", "1s")  # the test need not wait
        config.write_text(text)
        words = [str(program), f"--config.file={config}", f"--storage.tsdb.path={mounts['/prometheus']}"]
        words += [f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}"]
        self._spawn("prometheus", words, {**os.environ})
        self._until_answers("prometheus", "/-/ready")

    def down(self) -> None:
        """End everything, the last started first."""
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        time.sleep(0)
        self._stack.close()


@contextlib.contextmanager
def composed(folder: Path, scratch: Path) -> Iterator[Composed]:
    """A compose file's services, until the end of the block."""
    running = Composed(folder, scratch)
    try:
        running.up()
        yield running
    finally:
        running.down()
