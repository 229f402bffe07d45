"""The engine model in real time: its steps on an absolute timetable, its tokens to streams."""

from collections import deque
from collections.abc import Iterator
from random import Random
from time import monotonic_ns

from runners.simulator.asked import Asked, RequestError
from runners.simulator.batching import Batch, EngineModel, EngineStep, Sequence
from runners.simulator.metrics import Gauges, Metrics
from runners.simulator.prefixes import prefix_identities
from runners.simulator.scripts import Beat
from runners.simulator.stream import Stream
from runners.simulator.timetable import Timetable
from runners.simulator.wire import Usage


class Feed:
    """The beats of one answer, as the engine makes them: None where there is none yet."""

    def __init__(self, sequence: Sequence, usage: Usage) -> None:
        self.sequence = sequence
        self.usage = usage
        self._beats: deque[Beat] = deque()
        self._left = sequence.max_tokens

    def put(self, beat: Beat) -> None:
        self._beats.append(beat)

    def __iter__(self) -> Iterator[Beat | None]:
        return self

    def __next__(self) -> Beat | None:
        if self._beats:
            beat = self._beats.popleft()
            self._left -= beat.tokens
            return beat
        if not self._left:
            raise StopIteration
        return None


class StepLoop:
    """See Admission. A step begins where the one before ended, however late that was noticed."""

    # Before every stream that is due at the same time.
    number = -1

    def __init__(self, model: EngineModel, metrics: Metrics, timetable: Timetable) -> None:
        self._model = model
        self._metrics = metrics
        self._timetable = timetable
        self._batch = Batch(model)
        self._step: EngineStep | None = None
        self._streams: dict[Sequence, Stream] = {}

    def check(self, asked: Asked) -> None:
        room = self._model.kv_blocks * self._model.block_size
        if asked.prompt_tokens + asked.max_tokens > room:
            raise RequestError(
                400,
                "BadRequestError",
                f"The KV cache holds {room} tokens; the request has {asked.prompt_tokens} and "
                f"asks for {asked.max_tokens}.",
            )

    def beats(self, asked: Asked, usage: Usage, random: Random) -> Iterator[Beat | None]:
        prefix = prefix_identities(asked.prompt, asked.prompt_tokens, self._model.block_size)
        # Numbers of its own: faults draw from `random` while the answer is on its way.
        own = Random(random.getrandbits(64))
        return Feed(Sequence(0, asked.prompt_tokens, asked.max_tokens, prefix, own), usage)

    def accept(self, stream: Stream) -> None:
        now_ns = monotonic_ns()
        sequence = _feed(stream).sequence
        sequence.arrival_ns = now_ns
        self._streams[sequence] = stream
        self._batch.add(sequence)
        if self._step is None:
            end_ns = self._begin(now_ns)
            if end_ns is not None:
                self._timetable.add(end_ns, self)

    def play(self, now_ns: int) -> int | None:
        """The step that is due ends: its tokens go to their streams, and the next begins."""
        step, self._step = self._step, None
        if step is None:
            return None
        for sequence, tokens, accepted in self._batch.end():
            stream = self._streams[sequence]
            begun_ns = sequence.admitted_ns or 0
            _feed(stream).put(Beat(step.end_ns - begun_ns, tokens, accepted))
            stream.go_on()
        return self._begin(step.end_ns)

    def _begin(self, at_ns: int) -> int | None:
        """Begin the next step; when it ends, or None where there is no work."""
        self._step = step = self._batch.begin(at_ns)
        if step is None:
            return None
        self._metrics.preemptions += step.preempted
        for sequence in step.admitted:
            cached = sequence.cached_tokens or 0
            self._metrics.prefix_queries += sequence.prompt_tokens
            self._metrics.prefix_hits += cached
            stream = self._streams[sequence]
            _feed(stream).usage.cached_tokens = cached
            stream.admitted(step.start_ns)
        return step.end_ns

    def leave(self, stream: Stream) -> None:
        sequence = _feed(stream).sequence
        if self._streams.pop(sequence, None) is not None:
            self._batch.remove(sequence)

    def gauges(self) -> Gauges:
        pool = self._batch.pool
        return Gauges(
            running=len(self._batch.running),
            waiting=len(self._batch.waiting),
            kv_cache_usage=pool.used / pool.size,
            block_size=self._model.block_size,
            blocks=pool.size,
        )


def _feed(stream: Stream) -> Feed:
    feed = stream.answer.beats
    assert isinstance(feed, Feed)
    return feed
