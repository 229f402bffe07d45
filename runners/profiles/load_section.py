"""The `load` section of a profile: how requests are sent (docs/load.md)."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from runners.profiles.section import NotNegative, Positive, PositiveFloat, Section
from runners.profiles.workers_section import NumberOrWorkers

Pattern = Literal["closed", "constant", "poisson", "gamma", "stages", "burst", "trace"]

# Which patterns take a key; keys that are not here suit them all.
_PATTERNS_OF: dict[str, tuple[Pattern, ...]] = {
    "rate": ("constant", "poisson", "gamma"),
    "burstiness": ("gamma",),
    "think_time": ("closed",),
    "stages": ("stages",),
    "burst": ("burst",),
    "trace": ("trace",),
    "spacing": ("stages", "burst"),
    "duration_s": ("closed", "constant", "poisson", "gamma", "burst", "trace"),
}
_NEEDS: dict[Pattern, tuple[str, ...]] = {
    "constant": ("rate",),
    "poisson": ("rate",),
    "gamma": ("rate", "burstiness"),
    "stages": ("stages",),
    "burst": ("burst",),
    "trace": ("trace",),
}


class Warmup(Section):
    """Load before the measured window; given in requests or in seconds."""

    requests: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Extra requests before the window."
    )
    seconds: NotNegative | None = Field(
        default=None, description="Seconds of load before the window."
    )

    @model_validator(mode="after")
    def one_of_both(self) -> "Warmup":
        if self.requests is not None and self.seconds is not None:
            raise ValueError("give requests or seconds, not both")
        return self


class ThinkTime(Section):
    """How long a user of a closed loop waits between an answer and the next request."""

    mean_s: PositiveFloat = Field(description="Mean wait in seconds.")
    distribution: Literal["constant", "exponential"] = Field(
        default="exponential", description="Always the mean, or drawn from an exponential."
    )


class Sine(Section):
    """A rate that swings: mean + amplitude × sin(2π (t / period_s + phase))."""

    mean: PositiveFloat = Field(description="Mean rate in arrivals per second.")
    amplitude: NotNegative = Field(description="Swing to either side, at most the mean.")
    period_s: PositiveFloat = Field(description="Seconds of one whole swing.")
    phase: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Where it begins, as a share of the period: 0 rising from the mean, "
        "0.25 at the top, 0.75 at the bottom.",
    )

    @model_validator(mode="after")
    def never_below_zero(self) -> "Sine":
        if self.amplitude > self.mean:
            raise ValueError("amplitude must not be above mean: a rate cannot be negative")
        return self


class Stage(Section):
    """A part of a plan: a steady rate, a ramp or a sine."""

    rate: NotNegative | None = Field(
        default=None,
        description="Arrivals per second; with ramp_to, where the ramp begins (by default where "
        "the stage before ended, or 0).",
    )
    ramp_to: NotNegative | None = Field(
        default=None, description="The rate that a straight ramp reaches at the stage's end."
    )
    sine: Sine | None = Field(default=None, description="A swinging rate.")
    duration_s: PositiveFloat = Field(description="Seconds of this stage.")

    @model_validator(mode="after")
    def one_shape(self) -> "Stage":
        if self.sine is not None and (self.rate is not None or self.ramp_to is not None):
            raise ValueError("sine says the whole rate; leave rate and ramp_to out")
        if self.sine is None and self.rate is None and self.ramp_to is None:
            raise ValueError("give rate, ramp_to or sine")
        return self


class Burst(Section):
    """Bursts: on_s seconds at rate, off_s seconds at off_rate, over and over."""

    on_s: PositiveFloat = Field(description="Seconds of a burst.")
    off_s: PositiveFloat = Field(description="Seconds between bursts.")
    rate: PositiveFloat = Field(description="Arrivals per second during a burst.")
    off_rate: NotNegative = Field(default=0.0, description="Arrivals per second between bursts.")


class Trace(Section):
    """Arrivals, prompt lengths and answer lengths that were recorded elsewhere."""

    file: str = Field(min_length=1, description="Path of the trace.")
    format: Literal["azure", "mooncake"] | None = Field(
        default=None,
        description="azure: CSV with TIMESTAMP, ContextTokens, GeneratedTokens; mooncake: a JSON "
        "object per line with timestamp (ms), input_length, output_length. By default told by the "
        "first line.",
    )
    speed: PositiveFloat = Field(
        default=1.0, description="How many times faster than it was recorded."
    )


class StopAfterFailures(Section):
    """An error budget that ends the load early; given as a count or as a share."""

    count: Positive | None = Field(default=None, description="So many failed requests.")
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Failed of all finished requests, looked at from the 20th on.",
    )

    @model_validator(mode="after")
    def one_of_both(self) -> "StopAfterFailures":
        if (self.count is None) == (self.share is None):
            raise ValueError("give count or share")
        return self


class Load(Section):
    """How requests are sent."""

    pattern: Pattern | None = Field(
        default=None,
        description="closed: a fixed number in flight; constant, poisson, gamma: arrivals at "
        "`rate`; stages: a rate that changes by plan; burst: on and off; trace: replay of a file. "
        "By default what the other keys say: poisson with a rate, closed without anything.",
    )
    concurrency: Positive | None = Field(
        default=None, description="Requests in flight; in any other pattern than closed, the cap."
    )
    rate: PositiveFloat | None = Field(default=None, description="Arrivals per second.")
    burstiness: PositiveFloat | None = Field(
        default=None,
        description="Shape of gamma gaps: 1 is poisson, below 1 burstier, far above 1 constant.",
    )
    think_time: ThinkTime | None = Field(
        default=None, description="Each user of a closed loop waits so long before asking again."
    )
    stages: list[Stage] | None = Field(
        default=None, description="The rate over time, one stage after the other."
    )
    burst: Burst | None = Field(default=None, description="Bursts and the pauses between them.")
    trace: Trace | None = Field(default=None, description="The file to replay.")
    spacing: Literal["poisson", "even"] | None = Field(
        default=None,
        description="Arrivals of stages and bursts: random as in a Poisson process (the default), "
        "or evenly spaced.",
    )
    requests: Positive | None = Field(default=None, description="Measured requests.")
    duration_s: PositiveFloat | None = Field(
        default=None, description="Seconds of measured load; with `requests`, whichever is first."
    )
    stop_after_failures: StopAfterFailures | None = Field(
        default=None, description="Stop when so many requests have failed."
    )
    warmup: Warmup | None = Field(
        default=None,
        description="By default two rounds of the concurrency, or 2 s of arrivals; none of a "
        "trace.",
    )
    window: Literal["detect", "fixed", "none"] = Field(
        default="detect",
        description="The measured part of the load. detect: from where throughput, latency and "
        "requests in flight have settled, never before the warm-up has ended; fixed: from the end "
        "of the warm-up to the last send; none: all of it, warm-up and drain included.",
    )
    timeout_s: PositiveFloat = Field(
        default=300.0, description="A request without a byte for so long has failed."
    )
    cold_connections: bool = Field(
        default=False,
        description="A new connection for every request; how long TCP and TLS take is measured.",
    )
    workers: NumberOrWorkers = Field(
        default=None,
        description="What sends the load: a number of processes on this machine, or a section for "
        "other machines (docs/distributed-load.md); by default as many processes as it needs.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seed of arrivals and prompts."
    )

    @field_validator(*_PATTERNS_OF)
    @classmethod
    def suits_the_keys_before(cls, value: Any, info: ValidationInfo) -> Any:
        """A contradiction is reported at the later of two keys."""
        key = info.field_name or ""
        if value is None:
            return value
        if value == []:
            raise ValueError("give at least one stage, or null")
        pattern = info.data.get("pattern")
        suits = _PATTERNS_OF[key]
        if pattern is not None and pattern not in suits:
            raise ValueError(f"does not go with load.pattern {pattern}; {_belongs(key)}")
        for other, patterns in _PATTERNS_OF.items():
            if info.data.get(other) is not None and not set(suits) & set(patterns):
                raise ValueError(f"contradicts load.{other}; {_belongs(key)}")
        return value

    @model_validator(mode="after")
    def has_what_its_pattern_needs(self) -> "Load":
        pattern = self.resolved_pattern()
        for key in _NEEDS.get(pattern, ()):
            if getattr(self, key) is None:
                raise ValueError(f"pattern {pattern} needs {key}")
        if self.spacing is not None and pattern not in _PATTERNS_OF["spacing"]:
            raise ValueError("spacing is for the patterns stages and burst")
        return self

    def resolved_pattern(self) -> Pattern:
        """The pattern as given, else the one that the keys that are given belong to."""
        if self.pattern is not None:
            return self.pattern
        if self.trace is not None:
            return "trace"
        if self.stages is not None:
            return "stages"
        if self.burst is not None:
            return "burst"
        if self.burstiness is not None:
            return "gamma"
        return "closed" if self.rate is None else "poisson"


def _belongs(key: str) -> str:
    """The way out, in words."""
    if key == "duration_s":
        return "the stages say how long the load is, so set it to null"
    patterns = _PATTERNS_OF[key]
    return f"it is for the pattern{'s' if len(patterns) > 1 else ''} {', '.join(patterns)}"
