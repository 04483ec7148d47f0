"""A process that is cut off from the network before it does anything: ``python -m …confined MODULE FOLDER``.

It enters namespaces of its own (`unshare(2)`), in which there is no interface and the keys are not seen, gives up the
way to more rights (`prctl(2)`, PR_SET_NO_NEW_PRIVS), dies with its parent, and becomes ``python -m MODULE FOLDER``.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from headrace.kernel.errors import DeadlinePassed, Unavailable

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC_PRIVATE = 0x4000 | (1 << 18)
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
NOT_CONFINED = 75
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "OMP_NUM_THREADS")
"""What the process sees of the environment: nothing that could be a secret."""


def run_confined(module: str, folder: Path, seconds: float, hidden: Path) -> int:
    """Run ``python -m MODULE FOLDER`` without network, in `folder`; what it prints goes to ``said.log`` there.

    Args:
        hidden: a folder that it must not see, such as that of the keys.

    Raises:
        Unavailable: this machine does not let a process be cut off from the network.
        DeadlinePassed: it did not end in time.
    """
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, "-m", __name__, str(hidden.absolute()), module, str(folder)]
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, process_group=0
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise DeadlinePassed(
                f"The model was not opened within {seconds:g} s.", todo="Register a smaller example, or see the file."
            ) from error
        finally:
            _end_all(process)
    if code == NOT_CONFINED:
        raise Unavailable(
            "This machine does not let a process be cut off from the network, so an unknown model is not opened.",
            expected="unprivileged user namespaces, with networks and mounts of their own",
            todo="Allow them, or load the model in a program of your own and register the fitted object.",
        )
    return code


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def confine(hidden: str) -> bool:
    """Cut this process off from the network, for good; False where the machine does not allow it.

    It gets a user namespace of its own, so that it may not look into other processes of the same user, and there an
    empty folder is mounted over `hidden`.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if library.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0:
        return False
    library.mount(None, b"/", None, MS_REC_PRIVATE, None)
    return library.mount(b"tmpfs", hidden.encode(), b"tmpfs", 0, None) == 0


def main() -> None:
    """Confine this process, then become the module."""
    if not confine(sys.argv[1]):
        sys.exit(NOT_CONFINED)
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])  # noqa: S606 - no shell, our own module


if __name__ == "__main__":
    main()
