"""The load client: one event loop that sends on schedule and stamps what comes back."""

import select
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator

from runners.load.agenda import Agenda
from runners.load.backlog import Backlog, Tally
from runners.load.clock import Alarm, WallClock, keep_stamping, monotonic_ns
from runners.load.connection import FAILURES, Connection, reason_of
from runners.load.exchange import Exchange, ResponseFraming
from runners.load.limits import Limits, Planned
from runners.load.poller import Poller
from runners.load.stalls import Turns
from runners.load.stream import Address, Stream

_RETRY_CONNECT_NS = 100_000_000
_LOOK_FOR_TIMEOUTS_NS = 250_000_000
_LONGEST_WAIT_S = 0.1
_MANY_STREAMS = 64
_BREATH_NS = 300_000
_MOST_AT_ONCE = 64  # reads, and sends: neither lets the other wait for more

_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_WRITABLE = select.POLLOUT


class Client:
    """Drives planned requests against one server.

    Finished exchanges go to `finished` only when nothing waits to be read; those whose
    conversation goes on do at once, and then to `next_turn`.
    """

    def __init__(
        self,
        addresses: list[Address],
        limits: Limits,
        finished: Callable[[Exchange], bool],
        progress: Callable[[Tally], None] = lambda tally: None,
        next_turn: Callable[[Exchange], Planned | None] = lambda exchange: None,
    ) -> None:
        self.tally = Tally()
        self.wall, self._keeper = WallClock(), keep_stamping()
        self.kernel_stamps = True
        self._addresses, self._limits = addresses, limits
        self._backlog, self._progress = Backlog(limits, self.tally, finished), progress
        self._next_turn, self._agenda = next_turn, Agenda(iter(()))
        self._poller, self._alarm = Poller(), Alarm()
        if self._alarm.fd is not None:
            self._poller.watch(self._alarm.fd, select.POLLIN, known=False)
        self._connections: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._free_since: deque[int] = deque()
        self._think_times: Iterator[int] | None = None
        self._in_flight = 0
        self._sparse = False
        self._polled_ns = monotonic_ns()
        self._measured = 0
        self._not_before_ns = 0
        self._stop_ns: int | None = None
        self._interrupted = False

    # -- outside the measured time -------------------------------------------------

    def connect_ahead(self, count: int, deadline_ns: int) -> None:
        """Open up to `count` connections; failures show later, on the requests."""
        for _ in range(count):
            try:
                self._connect()
            except OSError:
                return
        while monotonic_ns() < deadline_ns and any(
            not connection.stream.ready for connection in self._connections.values()
        ):
            self._poll_once(_LONGEST_WAIT_S)

    def interrupt(self) -> None:
        """Stop at once; what is in flight is kept and marked interrupted."""
        self._interrupted = True

    # -- the measured time ---------------------------------------------------------

    def run(
        self, plan: Iterator[Planned], start_ns: int, think_times: Iterator[int] | None = None
    ) -> None:
        """Send everything and wait for every answer; returns when all is parsed.

        think_times: endless; a slot (a user of a closed loop) rests for the next of them, in
        ns, before it is free for its first request and again after each answer.
        """
        self._think_times = think_times
        self._polled_ns = monotonic_ns()
        self.tally.turns = Turns(self._polled_ns)
        for _ in range(self._limits.concurrency or 0):
            self._free_slot(start_ns)
        agenda = self._agenda = Agenda(plan)
        next_look = start_ns + _LOOK_FOR_TIMEOUTS_NS
        while (agenda.next is not None or self._in_flight) and not self._interrupted:
            now = monotonic_ns()
            if self._is_over(now):
                agenda.end()
            for _ in range(_MOST_AT_ONCE):
                if agenda.next is None or not self._may_send(agenda.next, now, start_ns):
                    break
                self._begin(agenda.take(), start_ns, now)
                now = monotonic_ns()
                if self._is_over(now):
                    agenda.end()
            if now >= next_look:
                self._look_for_timeouts(now)
                self._progress(self.tally)
                next_look = now + _LOOK_FOR_TIMEOUTS_NS
            if agenda.next is None and not self._in_flight:
                break
            self._poll_or_parse(self._next_due_ns(agenda.next, start_ns), now)
        self.tally.turns.end(monotonic_ns())
        self._close_everything()
        while self._backlog:
            self._understand_one()
        self._progress(self.tally)

    def _is_over(self, now: int) -> bool:
        if self._stop_ns is not None and now >= self._stop_ns:
            return True
        return self._limits.requests is not None and self._measured >= self._limits.requests

    def _may_send(self, planned: Planned, now: int, start_ns: int) -> bool:
        if now < max(self._not_before_ns, start_ns):
            return False
        if self._limits.concurrency is not None and (
            not self._free_since or now < self._free_since[0]
        ):
            return False
        return planned.intended_ns is None or now >= start_ns + planned.intended_ns

    def _next_due_ns(self, planned: Planned | None, start_ns: int) -> int | None:
        if planned is None:
            return None
        due = max(start_ns + (planned.intended_ns or 0), self._not_before_ns)
        if self._limits.concurrency is None:
            return due
        return max(due, self._free_since[0]) if self._free_since else self._stop_ns

    def _free_slot(self, now: int) -> None:
        """A slot may be used again: at once, or after its user has thought."""
        if self._think_times is None:
            self._free_since.append(now)
        else:
            insort(self._free_since, now + next(self._think_times))

    def _begin(self, planned: Planned, start_ns: int, now: int) -> None:
        free_since = self._free_since.popleft() if self._limits.concurrency is not None else now
        warmup = planned.warmup
        if self._limits.warmup_ns is not None:
            warmup = now - start_ns < self._limits.warmup_ns
        if planned.intended_ns is None:
            intended, capped = free_since, False
        else:
            intended = start_ns + planned.intended_ns
            capped = self._limits.concurrency is not None and free_since > intended
        if not warmup and self._stop_ns is None and self._limits.duration_ns is not None:
            self._stop_ns = now + self._limits.duration_ns
        exchange = Exchange(
            planned.request_id, planned.prompt_id, planned.requested_tokens, warmup, intended
        )
        exchange.capped, exchange.goes_on = capped, planned.goes_on
        self._measured += not warmup
        self._in_flight += 1
        self._assign(exchange, planned.message)

    def _assign(self, exchange: Exchange, message: bytes) -> None:
        connection = self._idle.pop() if self._idle and not self._limits.cold else None
        if connection is None:
            try:
                connection = self._connect()
            except OSError as error:
                self._end(exchange, "connect", str(error))
                return
        connection.framing.exchange = exchange
        connection.message = message
        connection.last_ns = monotonic_ns()
        if connection.stream.ready:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        exchange = connection.framing.exchange
        assert exchange is not None
        stream = connection.stream
        if self._limits.cold and stream.connected_ns and stream.ready_ns:
            exchange.connect_ns = stream.connected_ns - stream.opened_ns
            exchange.tls_ns = stream.ready_ns - stream.connected_ns if stream.is_tls else None
        connection.last_ns = exchange.sent_ns = monotonic_ns()
        try:
            connection.stream.send(connection.message)
        except OSError as error:
            self._lost(connection, str(error))
            return
        self.tally.sent += 1
        if connection.stream.wants_write:
            self._poller.watch(connection.stream.fileno(), _READABLE | _WRITABLE, known=True)

    def _connect(self) -> Connection:
        """Start a connection; it is idle until its TLS, if any, is up. Raises OSError."""
        failure: OSError | None = None
        for address in self._addresses:
            try:
                stream = Stream(address, self.wall, self.tally.lag)
            except OSError as error:
                failure = error
                continue
            connection = Connection(stream, ResponseFraming(), last_ns=monotonic_ns())
            self._connections[stream.fileno()] = connection
            self._poller.watch(stream.fileno(), _READABLE | _WRITABLE, known=False)
            self.tally.connections += 1
            return connection
        raise failure or OSError("the server's name has no address")

    # -- events --------------------------------------------------------------------

    def _poll_or_parse(self, due_ns: int | None, now: int) -> None:
        if self._backlog:
            if not self._poll_once(0.0) and (due_ns is None or due_ns - now > 1_000_000):
                self._understand_one()
            return
        if self._sparse and (due_ns is None or due_ns - now > 2 * _BREATH_NS):
            time.sleep(_BREATH_NS / 1e9)
        wait_s = _LONGEST_WAIT_S
        if due_ns is not None:
            if self._alarm.fd is not None:
                self._alarm.set(due_ns)
            else:
                wait_s = min(wait_s, max(due_ns - now, 0) / 1e9)
        self._poll_once(wait_s)

    def _poll_once(self, seconds: float) -> bool:
        """Handle what is ready; False when nothing was."""
        self.tally.turns.add(monotonic_ns() - self._polled_ns)
        ready = self._poller.wait(seconds, _MOST_AT_ONCE)
        self._polled_ns = monotonic_ns()
        self.wall.refresh(self._polled_ns)
        # Arrivals have their times from the kernel: where few of many streams are ready at
        # once, letting some more gather serves them all with one wake-up.
        few = min(self._in_flight // 4, _MOST_AT_ONCE)
        self._sparse = self._in_flight >= _MANY_STREAMS and len(ready) < few
        connections, only_readable = self._connections, select.POLLIN
        for fd, mask in ready:
            connection = connections.get(fd)
            if connection is None:
                if fd == self._alarm.fd:
                    self._alarm.clear()
                continue
            try:
                if (reads := connection.reads) is None or mask != only_readable:
                    self._on_event(connection, mask)
                elif not reads.take():
                    self._take_in(connection, *connection.stream.kept())
            except FAILURES as error:
                self._lost(connection, reason_of(error))
        return bool(ready)

    def _on_event(self, connection: Connection, mask: int) -> None:
        if mask & _WRITABLE:
            self._on_writable(connection)
        if mask & ~_WRITABLE and connection.stream.fileno() in self._connections:
            self._on_readable(connection)

    def _on_writable(self, connection: Connection) -> None:
        was_ready = connection.stream.ready
        connection.stream.on_writable()
        self._settle(connection, was_ready)
        if not connection.stream.wants_write:
            self._poller.watch(connection.stream.fileno(), _READABLE, known=True)

    def _settle(self, connection: Connection, was_ready: bool) -> None:
        if connection.stream.ready and not was_ready:
            if connection.framing.exchange is not None:
                self._send(connection)
            else:
                self._idle.append(connection)

    def _on_readable(self, connection: Connection) -> None:
        was_ready = connection.stream.ready
        read = connection.stream.read()
        self._settle(connection, was_ready)
        if not connection.stream.ready and connection.stream.wants_write:
            self._poller.watch(connection.stream.fileno(), _READABLE | _WRITABLE, known=True)
        if read is not None:
            kept, stamps = connection.stream.kept()
            data, stamp = read
            self._take_in(connection, [*kept, data], [*stamps, stamp])

    def _take_in(self, connection: Connection, reads: list[bytes], stamps: list[int]) -> None:
        exchange = connection.framing.exchange
        ended = connection.take_in(reads, stamps)
        if exchange is not None and exchange.complete:
            self._complete(connection, exchange)
        elif ended and exchange is not None and connection.framing.ends_with_connection:
            exchange.complete, exchange.end_ns = True, stamps[-1]
            connection.framing.keep_alive = False
            self._complete(connection, exchange)
        elif ended:
            self._lost(connection, "the server closed the connection", stamps[-1])

    def _complete(self, connection: Connection, exchange: Exchange) -> None:
        connection.framing.exchange = None
        connection.used = True
        if connection.framing.keep_alive and not self._limits.cold:
            self._idle.append(connection)
        else:
            self._drop(connection)
        self._end(exchange, None, "")

    def _lost(self, connection: Connection, reason: str, at_ns: int | None = None) -> None:
        """A connection ended. The request on it failed, unless it can be asked again:
        a kept-alive connection that the server had closed before it read the request."""
        connection.catch_up()
        exchange = connection.framing.exchange
        connection.framing.exchange = None
        self._drop(connection)
        if exchange is None:
            return
        untouched = exchange.status is None and not exchange.body
        if connection.used and untouched and exchange.sent_ns is not None:
            self.tally.reconnects += 1
            self.tally.sent -= 1
            exchange.sent_ns = None
            self._assign(exchange, connection.message)
            return
        error = "connect" if exchange.sent_ns is None else "broken_stream"
        self._end(exchange, error, reason, at_ns)

    def _drop(self, connection: Connection) -> None:
        fd = connection.stream.fileno()
        self.kernel_stamps = self.kernel_stamps and connection.stream.kernel_stamps
        if self._connections.pop(fd, None) is not None:
            self._poller.forget(fd)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.stream.close()

    def _end(
        self, exchange: Exchange, error: str | None, detail: str, at_ns: int | None = None
    ) -> None:
        now = monotonic_ns()
        if error is not None:
            exchange.fail(error, detail, at_ns or now)
        if error == "connect":
            self._not_before_ns = now + _RETRY_CONNECT_NS
        self._in_flight -= 1
        if self._limits.concurrency is not None:
            self._free_slot(now)
        self.tally.done += 1
        if exchange.goes_on:
            self._go_on(exchange)
            return
        self._backlog.add(exchange)
        if self._backlog.is_full:
            self._understand_one()

    def _go_on(self, exchange: Exchange) -> None:
        """Let the conversation's next turn be sent, now that this answer is here."""
        self._backlog.understand(exchange)
        self._heed_failures()
        turn = self._next_turn(exchange)
        if turn is not None:
            self._agenda.add_turn(turn)

    def _understand_one(self) -> None:
        self._backlog.understand_one()
        self._heed_failures()

    def _heed_failures(self) -> None:
        if self.tally.stopped is not None:
            self._stop_ns = 0

    def _look_for_timeouts(self, now: int) -> None:
        for connection in list(self._connections.values()):
            exchange = connection.framing.exchange
            if exchange is not None and now - connection.last_heard_ns > self._limits.timeout_ns:
                connection.catch_up()
                connection.framing.exchange = None
                self._drop(connection)
                error = "connect" if exchange.sent_ns is None else "timeout"
                self._end(exchange, error, f"no byte for {self._limits.timeout_ns / 1e9:g} s")

    def _close_everything(self) -> None:
        for connection in list(self._connections.values()):
            connection.catch_up()
            exchange = connection.framing.exchange
            connection.framing.exchange = None
            self._drop(connection)
            if exchange is not None:
                self._end(exchange, "interrupted", "stopped before the answer was complete")
        self._alarm.close()
        if self._keeper is not None:
            self._keeper.close()
