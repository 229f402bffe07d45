"""What the simulator is told to do, and how the words for it are read."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from runners.errors import UsageError
from runners.simulator.batching import EngineModel

Value = object

# The kinds of fault, each with its argument's default; None: it takes no argument.
FAULTS: dict[str, int | None] = {
    "drop": 1,  # close after so many content events
    "stall": None,  # headers, then never a token
    "status": 503,  # answer with this HTTP status
    "unauthorized": None,  # 401 unless the right bearer token comes
    "malformed": 1,  # after so many content events, one that is not JSON
    "error-event": 1,  # after so many content events, an error, then the end
    "no-usage": None,  # token counts left out, though asked for
    "wrong-usage": 10,  # completion_tokens too high by so many percent
    "role-late": None,  # the role at once, content at its own time
    "reasoning": 4,  # so many events of delta.reasoning come first
    "reasoning-content": 4,  # the same, in the older field delta.reasoning_content
    "empty": None,  # finishes without content
    "slow-headers": 2000,  # response headers so many ms late
    "refuse": None,  # closes the connection without a byte
    "split": 16,  # events in pieces of at most so many bytes, a write each
    "merged": 4,  # so many events in one write
}

_FAULT = re.compile(r"(?P<kind>[a-z-]+)(:(?P<argument>\d+))?\s*(@every\s*(?P<every>[1-9]\d*))?")


@dataclass(frozen=True)
class Delay:
    """A delay: always `median_ms`, or lognormal with that median and a sigma of its log."""

    median_ms: float
    sigma: float = 0.0

    def draw_ns(self, random: Random) -> int:
        """One delay in nanoseconds."""
        if self.sigma == 0.0:
            return round(self.median_ms * 1e6)
        return round(self.median_ms * 1e6 * math.exp(random.gauss(0.0, self.sigma)))


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong on every `every`-th request."""

    kind: str
    argument: int = 0
    every: int = 1


@dataclass(frozen=True)
class Behaviour:
    """How requests are answered.

    ttft: from admission to the first token; itl: between chunks after it.
    tokens_per_chunk: tokens in each chunk, where nothing is drafted.
    max_running: further requests wait; None: no limit, or the engine model's own.
    acceptance: accepted / drafted tokens to expect, with `speculative_tokens` drafted per
        step: chunks then hold 1 to speculative_tokens + 1 tokens. None: no drafting.
    fault: of those that fall on a request, the first one happens.
    engine_model: instead of ttft, itl and tokens_per_chunk, an engine with continuous batching
        decides; the fields after it are the parameters of batching.EngineModel, None: its
        default.
    """

    ttft_ms: Delay = Delay(50.0)
    itl_ms: Delay = Delay(10.0)
    tokens_per_chunk: int = 1
    max_running: int | None = None
    acceptance: float | None = None
    speculative_tokens: int = 3
    fault: tuple[Fault, ...] = ()
    engine_model: bool = False
    base_step_ms: float | None = None
    per_running_ms: float | None = None
    per_kilotoken_context_ms: float | None = None
    prefill_tokens_s: float | None = None
    max_batched_tokens: int | None = None
    kv_blocks: int | None = None
    block_size: int | None = None
    draft_step_ms: float | None = None


# Settings that mean something with `engine_model` only, and those it takes the place of.
MODEL_SETTINGS = (
    *("base_step_ms", "per_running_ms", "per_kilotoken_context_ms", "prefill_tokens_s"),
    *("max_batched_tokens", "kv_blocks", "block_size", "draft_step_ms"),
)
_DRAWN_SETTINGS = ("ttft_ms", "itl_ms", "tokens_per_chunk")


def engine_model(behaviour: Behaviour) -> EngineModel | None:
    """The engine model that `behaviour` asks for; None: delays are drawn."""
    if not behaviour.engine_model:
        return None
    given = {name: getattr(behaviour, name) for name in (*MODEL_SETTINGS, "max_running")}
    if behaviour.acceptance is not None:
        given["acceptance"] = behaviour.acceptance
        given["speculative_tokens"] = behaviour.speculative_tokens
    return EngineModel(**{name: value for name, value in given.items() if value is not None})


def read_delay(value: Value) -> Delay:
    """`50`, or `lognormal:MEDIAN,SIGMA`; ValueError otherwise."""
    text = str(value).strip()
    kind, colon, rest = text.rpartition(":")
    numbers = [float(part) for part in rest.split(",")]
    if colon and (kind != "lognormal" or len(numbers) != 2):
        raise ValueError(text)
    if not colon and len(numbers) != 1:
        raise ValueError(text)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(text)
    return Delay(*numbers)


def read_fault(value: Value) -> Fault:
    """`KIND[:argument][@every N]`; ValueError otherwise."""
    text = str(value).strip()
    match = _FAULT.fullmatch(text)
    if match is None or match["kind"] not in FAULTS:
        raise ValueError(text)
    default = FAULTS[match["kind"]]
    if default is None and match["argument"] is not None:
        raise ValueError(text)
    argument = int(match["argument"]) if match["argument"] is not None else (default or 0)
    needs_one = match["kind"] in ("split", "merged")
    if (needs_one and argument < 1) or (match["kind"] == "status" and not 400 <= argument <= 599):
        raise ValueError(text)
    return Fault(match["kind"], argument, int(match["every"] or 1))


def _faults(value: Value) -> tuple[Fault, ...]:
    if isinstance(value, list | tuple):
        return tuple(read_fault(item) for item in value)
    return (read_fault(value),)


def _count(value: Value) -> int:
    number = int(str(value))
    if number < 1:
        raise ValueError(str(value))
    return number


def _duration(value: Value) -> float:
    number = float(str(value))
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(str(value))
    return number


def _rate(value: Value) -> float:
    number = float(str(value))
    if not (math.isfinite(number) and number > 0):
        raise ValueError(str(value))
    return number


def _switch(value: Value) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _share(value: Value) -> float:
    number = float(str(value))
    if not 0.0 <= number <= 1.0:
        raise ValueError(str(value))
    return number


_MILLISECONDS = "milliseconds, a number from 0"
_READERS = {
    "ttft_ms": (read_delay, "milliseconds, or lognormal:MEDIAN,SIGMA"),
    "itl_ms": (read_delay, "milliseconds, or lognormal:MEDIAN,SIGMA"),
    "tokens_per_chunk": (_count, "a whole number from 1"),
    "max_running": (_count, "a whole number from 1"),
    "acceptance": (_share, "a number from 0 to 1"),
    "speculative_tokens": (_count, "a whole number from 1"),
    "fault": (_faults, "KIND[:number][@every N] with KIND one of " + ", ".join(FAULTS)),
    "engine_model": (_switch, "true or false"),
    "base_step_ms": (_duration, _MILLISECONDS),
    "per_running_ms": (_duration, _MILLISECONDS),
    "per_kilotoken_context_ms": (_duration, _MILLISECONDS),
    "prefill_tokens_s": (_rate, "a number above 0"),
    "max_batched_tokens": (_count, "a whole number from 1"),
    "kv_blocks": (_count, "a whole number from 1"),
    "block_size": (_count, "a whole number from 1"),
    "draft_step_ms": (_duration, _MILLISECONDS),
}


def read_behaviour(given: Mapping[str, Value], place: str = "") -> Behaviour:
    """The behaviour that `given` asks for; keys that are None or absent keep the default.

    Raises UsageError that names the key (with `place` before it) and what is allowed.
    """
    values: dict[str, Value] = {}
    for key, value in given.items():
        if value is None:
            continue
        read, allowed = _READERS[key]
        try:
            values[key] = read(value)
        except ValueError:
            raise UsageError(f"{place}{key}: {value!r} is not allowed; give {allowed}") from None
    if "acceptance" in values and values.get("tokens_per_chunk", 1) != 1:
        raise UsageError(
            f"{place}acceptance: it decides the tokens of each chunk; remove tokens_per_chunk"
        )
    _check_engine_model(values, place)
    return Behaviour(**values)  # type: ignore[arg-type]


def _check_engine_model(values: Mapping[str, Value], place: str) -> None:
    if values.get("engine_model"):
        for key in _DRAWN_SETTINGS:
            if key in values:
                raise UsageError(f"{place}{key}: the engine model decides this; remove it")
        return
    for key in MODEL_SETTINGS:
        if key in values:
            raise UsageError(
                f"{place}{key}: a parameter of the engine model; add engine_model: true, "
                "or remove it"
            )
