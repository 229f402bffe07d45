"""Faults that change when and how a script's bytes leave, whatever it says."""

from collections.abc import Iterator, Sequence
from random import Random

from runners.simulator import wire
from runners.simulator.scripts import Answer, Step


def with_fault(steps: Iterator[Step], answer: Answer) -> Iterator[Step]:
    """The script `steps` of `answer` with its fault in it, lazily."""
    if answer.fault is None:
        return steps
    kind, argument = answer.fault.kind, answer.fault.argument
    if kind == "drop":
        steps = _interrupted(steps, argument, [Step(0, b"", then="close")])
    elif kind == "malformed" and answer.asked.stream:
        cut = wire.chunked(b'data: {"simulated":[{\n\n')
        steps = _interrupted(steps, argument, [Step(0, cut)])
    elif kind == "error-event" and answer.asked.stream:
        failure = answer.voice.failure(500, "InternalServerError", "simulated failure")
        end = Step(0, answer.voice.end_mark(), then="end")
        steps = _interrupted(steps, argument, [Step(0, wire.event(failure)), end])
    elif kind == "split":
        steps = _split(steps, argument, answer.random)
    elif kind == "merged":
        steps = _merged(steps, argument)
    return steps


def _interrupted(steps: Iterator[Step], after: int, inserted: Sequence[Step]) -> Iterator[Step]:
    """`inserted` once `after` steps with tokens are through, at the latest before the end.

    Nothing follows where the insertion itself ends or closes the answer.
    """
    seen = 0
    for step in steps:
        if (seen == after and step.tokens) or step.then == "end":
            for insertion in inserted:
                yield insertion._replace(offset_ns=step.offset_ns)
            if inserted[-1].then == "more":
                yield step
                yield from steps
            return
        seen += step.tokens > 0
        yield step


def _split(steps: Iterator[Step], most: int, random: Random) -> Iterator[Step]:
    """Each step's bytes in random pieces; its tokens count with the last piece."""
    for step in steps:
        at = 0
        while len(step.data) - at > most:
            size = random.randint(1, most)
            yield Step(step.offset_ns, step.data[at : at + size])
            at += size
        yield step._replace(data=step.data[at:])


def _merged(steps: Iterator[Step], count: int) -> Iterator[Step]:
    """`count` steps in one write, due with the last of them."""
    held: list[Step] = []
    for step in steps:
        if step.then == "wait":
            yield step
            continue
        held.append(step)
        if len(held) < count and step.then == "more":
            continue
        yield step._replace(
            data=b"".join(part.data for part in held),
            tokens=sum(part.tokens for part in held),
            events=sum((part.events for part in held), ()),
            accepted=sum((part.accepted for part in held), ()),
        )
        held.clear()
