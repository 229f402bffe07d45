"""One answer on its way: plays a script by the timetable, keeps the truth and the counts."""

import asyncio
from collections.abc import Iterator
from time import monotonic_ns
from typing import Protocol

from runners.simulator.metrics import Metrics
from runners.simulator.scripts import Answer, Step
from runners.simulator.truth import Truth


class Client(Protocol):
    """The connection an answer goes to; `blocked` while the kernel takes no more bytes."""

    transport: asyncio.Transport
    blocked: bool

    def answered(self) -> None:
        """The answer is through; the next request may be read."""


class Place(Protocol):
    """What a stream needs of the engine it runs in."""

    metrics: Metrics

    def schedule(self, stream: "Stream", due_ns: int | None) -> None: ...

    def leave(self, stream: "Stream") -> None: ...


class Stream:
    """Plays the steps of one answer; `gone` once it is over, however it ended."""

    def __init__(
        self, engine: Place, client: Client, answer: Answer, steps: Iterator[Step], truth: Truth
    ) -> None:
        self.number = truth.request
        self.client = client
        self.answer = answer
        self.gone = False
        self._engine = engine
        self._metrics = engine.metrics
        self._steps = steps
        self._truth = truth
        self._start_ns = 0
        self._generated = 0
        self._first_ns = 0
        self._last_ns = 0
        self._step = Step(0, b"")
        self._partly_sent = False
        self._waits = False

    @property
    def context_tokens(self) -> int:
        return self.answer.asked.prompt_tokens + self._generated

    def admitted(self, now_ns: int) -> None:
        """Its schedule begins."""
        self._start_ns = self._truth.admitted_ns = now_ns
        self._metrics.queue.observe((now_ns - self._truth.received_ns) / 1e9)
        self._engine.schedule(self, self._next())

    def _next(self) -> int | None:
        step = next(self._steps, None)
        if step is None:
            return None
        if step.then == "wait":
            self._waits = True
            return None
        self._step = step
        return self._start_ns + step.offset_ns

    def go_on(self) -> None:
        """The engine has made more tokens: schedule their step, if the stream waits for it."""
        if self._waits and not self.gone:
            self._waits = False
            self._engine.schedule(self, self._next())

    def play(self, now_ns: int) -> int | None:
        """Write the step that is due; the due time of the next one.

        Where the kernel does not take all bytes, nothing is due until `unblocked`.
        """
        if self.gone:
            return None
        data = self._step.data
        if data:
            self.client.transport.write(data)
            if self.client.blocked:
                self._partly_sent = True
                return None
        return self._sent(now_ns)

    def unblocked(self) -> None:
        """The kernel takes bytes again: all of a step that `play` had begun is sent."""
        if self.gone or not self._partly_sent:
            return
        self._partly_sent = False
        self._engine.schedule(self, self._sent(monotonic_ns()))

    def _sent(self, sent_ns: int) -> int | None:
        step = self._step
        if step.tokens:
            if not self._generated:
                self._first_token(sent_ns)
            else:
                self._metrics.itl.observe((sent_ns - self._last_ns) / 1e9)
            self._last_ns = sent_ns
            self._generated += step.tokens
            self._metrics.generation_tokens += step.tokens
            for accepted in step.accepted:
                self._metrics.drafted(accepted)
        for tokens in step.events:
            self._truth.due_ns.append(self._start_ns + step.offset_ns)
            self._truth.sent_ns.append(sent_ns)
            self._truth.tokens.append(tokens)
        if step.then == "more":
            return self._next()
        self._over(step, sent_ns)
        return None

    def _first_token(self, sent_ns: int) -> None:
        self._first_ns = sent_ns
        self._metrics.prompt_tokens += self.answer.asked.prompt_tokens
        self._metrics.cached_tokens += self.answer.usage.cached_tokens
        self._metrics.ttft.observe((sent_ns - self._truth.received_ns) / 1e9)

    def _over(self, step: Step, now_ns: int) -> None:
        if step.then == "close":
            self._leave(now_ns, "drop", "abort")
            self.client.transport.close()
            return
        outcome = self.answer.asked.finish_reason
        if self.answer.has("empty"):
            outcome = "stop"
        if self.answer.has("error-event"):
            outcome = "error"
        if self._generated > 1:
            span_s = (now_ns - self._first_ns) / 1e9
            self._metrics.tpot.observe(span_s / (self._generated - 1))
        self._metrics.e2e.observe((now_ns - self._truth.received_ns) / 1e9)
        if outcome != "error":
            self._metrics.output_lengths.observe(self._generated)
        self._leave(now_ns, outcome, outcome)
        self.client.answered()

    def _leave(self, now_ns: int, outcome: str, counted_as: str) -> None:
        self.gone = True
        self._truth.ended_ns = now_ns
        self._truth.outcome = outcome
        self._metrics.finished[counted_as] += 1
        self._engine.leave(self)

    def abort(self) -> None:
        """The client is gone."""
        if not self.gone:
            self._leave(monotonic_ns(), "abort", "abort")
