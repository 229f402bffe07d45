"""Starting an engine and ending it with everything it started."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_POLL_S = 0.05
_PROC = Path("/proc/self/stat")


# On Linux: ask the kernel for SIGTERM when the parent dies, then become the engine.
_BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent died first")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def _bound_to(parent: int) -> list[str]:
    """Beginning of a command that ends with its parent; empty where that is not possible."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _BOUND, str(parent)]


class EngineProcess:
    """A server in its own session, with its output in a log file.

    Its own session keeps Ctrl-C away from it (we end it in order) and makes all it
    starts findable. On Linux the kernel ends it when this process dies without a word.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start it. Raises OSError when the log or the program cannot be opened."""
        self.command = tuple(command)
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*_bound_to(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        atexit.register(self.stop, 0.0)

    @property
    def pid(self) -> int:
        """Process id of the server; also the id of its session and process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, grace_s: float = 15.0) -> None:
        """End the server and all it started: politely, after `grace_s` by force.

        A second Ctrl-C meanwhile goes straight to force. Returns when all are gone.
        """
        atexit.unregister(self.stop)
        family = self._family()
        try:
            if grace_s > 0:
                self._signal_group(signal.SIGTERM)
                self._wait_until_gone(family, grace_s)
        finally:
            self._signal_group(signal.SIGKILL)
            for member in self._left(family):
                _kill(member.pid)
            self._wait_until_gone(family, 10.0)
            self._process.wait()

    def survivors(self) -> list[int]:
        """Process ids of the engine's session that still run, the server's own included."""
        return [member.pid for member in running() if member.session == self.pid]

    def _family(self) -> set["Running"]:
        """The session's members, and descendants that have left it for their own."""
        return {each for each in running() if each.session == self.pid} | descendants(self.pid)

    def _left(self, family: set["Running"]) -> set["Running"]:
        known = {(each.pid, each.started) for each in family}
        return {
            each
            for each in running()
            if each.session == self.pid or (each.pid, each.started) in known
        }

    def _signal_group(self, number: signal.Signals) -> None:
        # the group is empty, or (macOS) holds only processes that have ended
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _wait_until_gone(self, family: set["Running"], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            ended = self._process.poll() is not None
            if ended and not self._left(family) and not self._group_is_left():
                return
            time.sleep(_POLL_S)

    def _group_is_left(self) -> bool:
        """Whether the process group has members, where /proc cannot tell."""
        if _PROC.exists():
            return False
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Running(NamedTuple):
    """A living process; pid and started (clock ticks after boot) identify it."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


def running() -> list[Running]:
    """All living processes; empty where there is no /proc. Zombies are not alive."""
    found: list[Running] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # what follows the name in parentheses: state, parent, group, session, …
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if fields[0] not in "ZX":
            parent, group, session = map(int, fields[1:4])
            found.append(Running(int(entry.parent.name), parent, group, session, int(fields[19])))
    return found


def descendants(pid: int) -> set[Running]:
    """Living children of `pid`, their children, and so on."""
    everyone = running()
    found: set[Running] = set()
    parents = {pid}
    while parents:
        children = {each for each in everyone if each.parent in parents}
        found |= children
        parents = {each.pid for each in children}
    return found
