"""A load worker's side of one run: orders in, load driven, records out."""

import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from runners.load.process import Process, end_process, last_words, start_process
from runners.load.remote_orders import Folder, from_wire
from runners.load.remote_wire import Link, Message, NotStored, Refused, ToldToEnd
from runners.load.worker import Spec

_DRAIN_S = 10.0
_ORDERS_S = 300.0


def serve(link: Link, folder: Folder, expected: tuple[int, int] | None) -> None:
    """Do what an admitted coordinator orders; returns when it has all it wants.

    expected: (index, count) that its spec must have, None for any. However this ends, the
    worker process has ended too. Raises Gone, Refused (the coordinator was told) or
    ToldToEnd (the coordinator was told and has the records).
    """
    try:
        spec = _orders(link, folder, expected)
        process = start_process(folder.orders, folder.log)
    except (Refused, NotStored, OSError) as error:
        why = str(error) if isinstance(error, Refused) else f"cannot store its orders: {error}"
        link.send("refused", reason=why)
        raise Refused(why) from None
    session = _Session(link, folder, spec, process)
    try:
        session.drive()
    except ToldToEnd:
        session.leave()
        raise
    finally:
        session.end_load(_DRAIN_S)


def _orders(link: Link, folder: Folder, expected: tuple[int, int] | None) -> Spec:
    said: object = None
    while (message := link.receive(folder.received(), _ORDERS_S)).kind != "prepare":
        if message.kind == "spec":
            said = message.fields.get("spec")
        elif message.kind != "file":
            raise Refused(f"it said {message.kind[:40]} before its orders were complete")
    spec = from_wire(said, folder)
    if expected is not None and (spec.index, spec.count) != expected:
        raise Refused(
            f"this is worker {expected[0]} of {expected[1]}, "
            f"its spec is for {spec.index} of {spec.count}"
        )
    spec.write(folder.orders)
    return spec


@dataclass
class _Session:
    """The worker process on one side, the coordinator on the other."""

    link: Link
    folder: Folder
    spec: Spec
    process: Process
    ended: bool = False
    _line: bytes = field(default=b"", repr=False)

    def drive(self) -> None:
        """Relay between both until the coordinator has said that this is all."""
        assert self.process.stdout is not None
        while True:
            sources: list[Any] = [self.link] if self.ended else [self.link, self.process.stdout]
            ready = select.select([*sources, *self.link.wakers()], [], [])[0]
            if self.process.stdout in ready:
                self._relay()
            if self.link in ready or set(ready) & set(self.link.wakers()):
                message = self.link.receive(seconds=_ORDERS_S)
                if message.kind == "end":
                    return
                self._obey(message)

    def _obey(self, message: Message) -> None:
        if message.kind == "ping":
            self.link.send("pong", received=message.at_ns, replied=time.monotonic_ns())
        elif message.kind == "start":
            self._start(message.integer("at"))
        elif message.kind == "stop":
            self.process.send_signal(signal.SIGTERM)
        elif message.kind == "collect":
            self._hand_over()
        else:
            raise Refused(f"it said {message.kind[:40]}, which means nothing here")

    def _start(self, at_ns: int) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"start_at": at_ns}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it died since; the relay sees that
            return

    def _relay(self) -> None:
        """Pass on what the worker process said."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        if not data:
            self.end_load(_DRAIN_S)
            self.link.send(
                "ended", code=self.process.returncode, said=last_words(self.folder.log)[:300]
            )
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for raw in lines:
            line = json.loads(raw)
            if "result" in line:
                self.link.send("result", result=line["result"])
            elif "ready" in line:
                self.link.send("ready", cores=os.cpu_count())
            else:
                self.link.send("progress", **line)

    def _hand_over(self) -> None:
        for name, path in self.folder.returned(self.spec.index).items():
            if path.exists():
                self.link.send_file(name, path)
        self.link.send("collected")

    def leave(self) -> None:
        """Stop at once, and give away what there is while there is time."""
        assert self.process.stdout is not None
        self.link.send("leaving", reason="was told to end")
        if not self.ended:
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _DRAIN_S
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            if select.select([self.process.stdout], [], [], left)[0]:
                self._relay()
        self._hand_over()

    def end_load(self, seconds: float) -> None:
        """Have the worker process ended; a second call changes nothing."""
        if self.ended:
            return
        self.ended = True
        self.process.send_signal(signal.SIGTERM)
        end_process(self.process, seconds)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
