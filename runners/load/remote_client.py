"""The coordinator's side of load workers on other machines."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runners.errors import OutputError, TargetError, UsageError
from runners.load.remote_clock import Clock, Offset, Ping, estimate, tell_in_our_clock
from runners.load.remote_orders import records, to_wire
from runners.load.remote_wire import (
    Gone,
    Link,
    Message,
    NotStored,
    Refused,
    introduce,
    split_address,
    token_from_environment,
)
from runners.load.worker import Spec
from runners.load.workers import NOTHING_SENT, Sent, Worker
from runners.profiles.model import Profile
from runners.rundir import writing

_CONNECT_S = 10.0
_READY_S = 120.0
_ANSWER_S = 30.0
_PINGS = 24
_LEAD_NS = 100_000_000


def refuse_what_cannot_drive(profile: Profile) -> None:
    """Say before anything is deployed what the workers of a profile lack. Raises UsageError."""
    load = profile.load
    if load.workers is None or load.workers.processes is not None:
        return
    if load.workers.pods is not None and profile.target != "kserve":
        raise UsageError(
            f"load.workers.pods: target {profile.target} has no cluster to start them in; use "
            "target kserve, or start workers yourself and name them in load.workers.addresses"
        )
    key, count = (
        ("pods", load.workers.pods)
        if load.workers.pods is not None
        else ("addresses", len(load.workers.addresses or ()))
    )
    if load.concurrency is not None and load.concurrency < count:
        raise UsageError(
            f"load.workers.{key}: {count} workers cannot share load.concurrency "
            f"{load.concurrency}; give each at least one request in flight"
        )
    if load.workers.addresses is None:
        return
    if profile.target in ("local", "simulator"):
        refuse_hidden_server("http://localhost", load.workers.addresses)
    _token()


def _token() -> str:
    try:
        return token_from_environment()
    except Refused as refusal:
        raise UsageError(f"load.workers.addresses: {refusal}") from None


def refuse_hidden_server(base_url: str, addresses: Sequence[str]) -> None:
    """A server on this machine's loopback cannot be reached from another. Raises UsageError."""
    host = urlsplit(base_url).hostname or ""
    away = [address for address in addresses if not _is_loopback(split_address(address)[0])]
    if _is_loopback(host) and away:
        raise UsageError(
            f"load.workers.addresses: {away[0]} is another machine and cannot reach a server "
            f"at {base_url}; give a URL that it can reach with --url"
        )


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


@contextmanager
def remote_workers(
    specs: Sequence[Spec],
    addresses: Sequence[str],
    work: Path,
    logs: Path,
    token: str | None = None,
) -> Iterator[list[Worker]]:
    """Workers that wait at `addresses`, given their orders; they stop when the block ends.

    token: what they and we share; by default from the environment.
    Raises UsageError without a token, TargetError for a worker that cannot be had.
    """
    token = token or _token()
    with ExitStack() as stack:
        workers: list[Worker] = []
        for spec, address in zip(specs, addresses, strict=True):
            link = _connect(address)
            stack.callback(link.close)
            worker = RemoteWorker(spec.index, address, link, work, logs)
            worker.order(spec, token)
            workers.append(worker)
        yield workers


def _connect(address: str) -> Link:
    try:
        return Link(socket.create_connection(split_address(address), _CONNECT_S))
    except OSError as error:
        reason = error.strerror or str(error)
        raise TargetError(
            f"load worker {address} cannot be reached: {reason}; start it there with "
            "`python -m runners.load.remote --listen HOST:PORT`"
        ) from None


@dataclass
class RemoteWorker:
    """One worker on another machine; all its times are in that machine's clock."""

    index: int
    address: str
    link: Link
    work: Path
    logs: Path
    latest: Sent = NOTHING_SENT
    result: dict[str, Any] | None = None
    cores: int | None = None
    clock: Clock | None = None
    _failure: str | None = field(default=None, init=False)
    _gone: bool = field(default=False, init=False)
    _leaving: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _collected: bool = field(default=False, init=False)

    @property
    def lead_ns(self) -> int:
        return _LEAD_NS + (2 * self.clock.start.rtt_ns if self.clock else 0)

    def order(self, spec: Spec, token: str) -> None:
        """Introduce ourselves and send everything that it needs. Raises TargetError."""
        try:
            introduce(self.link, token)
            files = {"bodies": spec.bodies, "schedule": spec.schedule, "ca_cert": spec.ca_cert}
            for name, path in files.items():
                if path is not None:
                    self.link.send_file(name, Path(path))
            self.link.send("spec", spec=to_wire(spec))
            self.link.send("prepare")
        except Gone as error:
            busy = "; does it serve another run?" if "said nothing" in str(error) else ""
            raise TargetError(f"load worker {self.address} was lost: {error}{busy}") from None
        except Refused as refusal:
            raise TargetError(f"load worker {self.address}: {refusal}") from None

    def wait_until_ready(self) -> None:
        try:
            message = self._hear(_READY_S)
            if message.kind != "ready":
                why = message.fields.get("said") or f"it said {message.kind}"
                raise TargetError(f"load worker {self.address} did not start: {why}")
            self.cores = message.integer("cores")
            self.clock = Clock(self._measure_clock())
        except (Gone, Refused) as error:
            raise TargetError(f"load worker {self.address}: {error}") from None

    def start(self, t0_ns: int) -> None:
        assert self.clock is not None
        self._tell("start", at=t0_ns + self.clock.start.offset_ns)

    def follow(self) -> None:
        try:
            while not self._collected and (self._leaving or not self._ended):
                self._note(self._hear(None))
        except NotStored as error:
            self._lost(f"its records could not be written: {error}")
        except (Gone, Refused) as error:
            self._lost(f"was lost: {error}")

    def stop(self) -> None:
        self._tell("stop")

    def finish(self, t0_ns: int) -> None:
        if not (self._ended or self._collected or self._gone):
            self._lost("did not stop when it was told to")
        try:
            if not (self._collected or self._gone):
                self._collect()
        except NotStored as error:
            raise OutputError(
                f"cannot write {self.work}: {error}; choose another place with --out DIR"
            ) from None
        except (Gone, Refused) as error:
            self._lost(f"was lost before all its records were here: {error}")
        finally:
            self.link.close()
        if self.clock is not None and self._collected:
            with writing(self.work):
                tell_in_our_clock(self.work, self.index, self.clock, t0_ns)

    def _collect(self) -> None:
        """Look at its clock again, then have its records."""
        assert self.clock is not None
        self.clock = Clock(self.clock.start, self._measure_clock())
        self.link.send("collect")
        while not self._collected:
            self._note(self._hear(_ANSWER_S))
        self.link.send("end")

    def why_lost(self) -> str | None:
        return None if self._failure is None else f"at {self.address} {self._failure}"

    def _lost(self, why: str) -> None:
        self._gone, self._failure = True, self._failure or why

    def machine(self) -> dict[str, Any]:
        return {
            "worker": self.index,
            "address": self.address,
            "cores": self.cores,
            "clock": self.clock,
        }

    def _tell(self, kind: str, **fields: Any) -> None:
        try:
            self.link.send(kind, **fields)
        except Gone as error:  # `follow` ends too
            self._lost(f"was lost: {error}")

    def _hear(self, seconds: float | None) -> Message:
        message = self.link.receive(self._places(), seconds)
        if message.kind == "refused":
            raise Refused(f"it refused: {message.text('reason')[:300]}")
        return message

    def _note(self, message: Message) -> None:
        said = message.fields
        if message.kind == "progress":
            counts = (message.integer(name) for name in ("sent", "done", "failed"))
            self.latest = Sent(*counts)
        elif message.kind == "result" and isinstance(said.get("result"), dict):
            self.result = said["result"]
            if self.result.get("not_written"):
                self.result["not_written"] += f" (on the load worker {self.address})"
        elif message.kind == "ended":
            self._ended = True
            if self.result is None and not self._leaving:
                code, words = message.integer("code"), message.text("said")
                self._failure = f"ended with code {code}: {words}"
        elif message.kind == "leaving":
            self._leaving, self._failure = True, message.text("reason")
        elif message.kind == "collected":
            self._collected = True

    def _measure_clock(self) -> Offset:
        return estimate([self._ping() for _ in range(_PINGS)])

    def _ping(self) -> Ping:
        sent_ns = time.monotonic_ns()
        self.link.send("ping")
        pong = self._hear(_ANSWER_S)
        if pong.kind != "pong":
            raise Refused(f"it said {pong.kind[:40]} to a ping")
        return Ping(sent_ns, pong.integer("received"), pong.integer("replied"), pong.at_ns)

    def _places(self) -> Mapping[str, Path]:
        log = self.logs / f"load-worker-{self.index}.log"
        return {**records(self.work, self.index), "log": log}
