"""Virtual environments of the peers: made once from pinned requirements, again when those change."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent / ".peers"
INSTALL_SECONDS = 1800


class Failed(Exception):
    """A server that could not be measured, with the reason in a line."""


@dataclass(frozen=True)
class Environment:
    """Where a server's Python and its commands are."""

    python: Path
    versions: str
    variables: dict[str, str]


def open_environment(name: str | None) -> Environment:
    """The environment of ``NAME.txt``, made where it is missing or out of date; None is the one that runs this.

    Raises:
        Failed: the packages cannot be installed.
    """
    if name is None:
        return Environment(Path(sys.executable), "", dict(os.environ))
    wanted = f"python=={sys.version_info.major}.{sys.version_info.minor}\n{(HERE / f'{name}.txt').read_text()}"
    folder = CACHE / name
    stamp, python = folder / "installed.txt", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name} into {folder} (once)", file=sys.stderr)
        stamp.unlink(missing_ok=True)
        venv.create(folder, clear=True, with_pip=True)
        _install(python, name)
        stamp.write_text(wanted)
    foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    variables = {key: value for key, value in os.environ.items() if key not in foreign}
    variables["PATH"] = f"{python.parent}{os.pathsep}{variables.get('PATH', '')}"
    return Environment(python, " ".join(wanted.split()).replace("==", " "), variables)


def _install(python: Path, name: str) -> None:
    log = CACHE / f"{name}.log"
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-r", f"{name}.txt"]
    with log.open("wb") as output:
        try:
            subprocess.run(
                command, cwd=HERE, check=True, stdout=output, stderr=subprocess.STDOUT, timeout=INSTALL_SECONDS
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            lines = log.read_text(errors="replace").strip().splitlines() or ["pip said nothing"]
            raise Failed(f"cannot be installed: {lines[-1]}") from error
