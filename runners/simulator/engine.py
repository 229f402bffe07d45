"""The simulated engine: its answers, the faults that fall on them, what has been counted."""

import asyncio
from random import Random
from time import time

from runners.simulator import wire
from runners.simulator.admission import Admission, DrawnDelays
from runners.simulator.asked import Asked
from runners.simulator.faults import with_fault
from runners.simulator.metrics import Gauges, Metrics
from runners.simulator.scripts import Answer, script
from runners.simulator.settings import Behaviour, Fault, engine_model
from runners.simulator.steploop import StepLoop
from runners.simulator.stream import Client, Stream
from runners.simulator.timetable import Timetable
from runners.simulator.truth import Truth
from runners.simulator.voice import Topic
from runners.simulator.voices import VOICES

# Of the APIs whose answers have an id.
_ID_PREFIXES = {"chat": "chatcmpl-", "completions": "cmpl-"}


class Engine:
    """Plays answers by the timetable, admitted as the behaviour says."""

    def __init__(
        self, behaviour: Behaviour, model: str, seed: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.behaviour = behaviour
        self.model = model
        self.metrics = Metrics()
        self.truths: list[Truth] = []
        if behaviour.acceptance is not None:
            self.metrics.accepted_per_position = [0] * behaviour.speculative_tokens
        self._seed = seed
        self._loop = loop
        self._timetable = Timetable(loop)
        model_of_engine = engine_model(behaviour)
        self._admission: Admission = (
            DrawnDelays(behaviour, self.metrics)
            if model_of_engine is None
            else StepLoop(model_of_engine, self.metrics, self._timetable)
        )
        self._countable = 0

    def arrive(self, received_ns: int, probe: bool) -> tuple[Truth, Fault | None]:
        """Number a request and decide its fault; a probe has none and shifts no other's."""
        fault = None
        if not probe:
            self._countable += 1
            due = (one for one in self.behaviour.fault if self._countable % one.every == 0)
            fault = next(due, None)
        truth = Truth(len(self.truths), received_ns, probe)
        truth.fault = None if fault is None else fault.kind
        self.truths.append(truth)
        return truth, fault

    def answer(
        self, client: Client, asked: Asked, truth: Truth, fault: Fault | None, name: str
    ) -> Stream:
        """Begin to answer; the stream tells the client when it is through."""
        truth.prompt_tokens = asked.prompt_tokens
        if asked.api in _ID_PREFIXES:
            truth.id = _ID_PREFIXES[asked.api] + name
        self.metrics.apis.add(asked.api)
        self.metrics.input_lengths.observe(asked.prompt_tokens)
        excess = fault.argument / 100 if fault and fault.kind == "wrong-usage" else 0.0
        usage = wire.Usage(asked.prompt_tokens, 0, excess)
        stated = None if fault is not None and fault.kind == "no-usage" else usage
        topic = Topic(asked, self.model, truth.id or "", int(time()), stated)
        random = Random(self._seed << 32 | truth.request)
        answer = Answer(
            asked=asked,
            voice=VOICES[asked.api](topic),
            usage=usage,
            beats=self._admission.beats(asked, usage, random),
            behaviour=self.behaviour,
            fault=fault,
            random=random,
        )
        stream = Stream(self, client, answer, with_fault(script(answer), answer), truth)
        if fault is not None and fault.kind == "slow-headers":
            self._loop.call_later(fault.argument / 1e3, self._accept, stream)
        else:
            self._accept(stream)
        return stream

    def _accept(self, stream: Stream) -> None:
        if stream.gone:
            return
        if stream.answer.asked.stream:
            stream.client.transport.write(wire.STREAM_HEADERS)
        self._admission.accept(stream)

    def schedule(self, stream: Stream, due_ns: int | None) -> None:
        """Play the stream's next step at `due_ns`; None: it has none."""
        if due_ns is not None:
            self._timetable.add(due_ns, stream)

    def leave(self, stream: Stream) -> None:
        """The stream is over, or its client is gone: its place is free."""
        self._admission.leave(stream)

    def check(self, asked: Asked) -> None:
        """Raises RequestError (400) for a request that could never run."""
        self._admission.check(asked)

    def gauges(self) -> Gauges:
        return self._admission.gauges()
