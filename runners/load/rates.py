"""A rate that changes over time, and when a given number of arrivals is due under it.

Arrivals of a process with rate λ(t) are those of a process with rate 1, moved to the times
at which the cumulative rate Λ(t) = ∫ λ reaches them (inversion; Çinlar, Introduction to
Stochastic Processes, 1975, ch. 4.7). Unit-rate Poisson arrivals give an inhomogeneous
Poisson process, and 0, 1, 2, … evenly spaced arrivals. Rates are per second, times seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runners.profiles.load_section import Burst, Load, Stage

Floats = npt.NDArray[np.float64]

_HALVINGS = 50  # of a stage's length: below a nanosecond for any of days


@dataclass(frozen=True)
class Ramp:
    """A rate that runs straight from `start` to `end`; equal for a steady one."""

    start: float
    end: float
    duration_s: float

    @property
    def arrivals(self) -> float:
        """Λ at the end."""
        return 0.5 * (self.start + self.end) * self.duration_s

    def when(self, count: Floats) -> Floats:
        """Times after the start at which Λ(t) = a t + (b - a) t² / 2d reaches `count`."""
        slope = (self.end - self.start) / self.duration_s
        root = np.sqrt(np.maximum(self.start**2 + 2.0 * slope * count, 0.0))
        below = self.start + root
        # The form of the quadratic's solution that cancels nothing, and is 0 for count 0.
        return np.divide(2.0 * count, below, out=np.zeros_like(count), where=below > 0.0)


@dataclass(frozen=True)
class Wave:
    """A rate mean + amplitude × sin(2π (t / period_s + phase))."""

    mean: float
    amplitude: float
    period_s: float
    phase: float
    duration_s: float

    @property
    def start(self) -> float:
        return float(self.mean + self.amplitude * np.sin(2 * np.pi * self.phase))

    @property
    def end(self) -> float:
        turns = self.duration_s / self.period_s + self.phase
        return max(0.0, float(self.mean + self.amplitude * np.sin(2 * np.pi * turns)))

    @property
    def arrivals(self) -> float:
        return float(self.until(np.array([self.duration_s]))[0])

    def until(self, time_s: Floats) -> Floats:
        """Λ(t)."""
        begin = np.cos(2 * np.pi * self.phase)
        swing: Floats = begin - np.cos(2 * np.pi * (time_s / self.period_s + self.phase))
        expected: Floats = self.mean * time_s + self.amplitude * self.period_s / (2 * np.pi) * swing
        return expected

    def when(self, count: Floats) -> Floats:
        """Times after the start at which Λ reaches `count`, by bisection."""
        low, high = np.zeros_like(count), np.full_like(count, self.duration_s)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            early = self.until(middle) < count
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        return high


@dataclass(frozen=True)
class Curve:
    """A rate over time: stages in a row, once or over and over."""

    stages: tuple[Ramp | Wave, ...]
    repeats: bool = False

    @property
    def arrivals(self) -> float:
        """Arrivals to expect of all stages; of one round where they repeat."""
        return sum(stage.arrivals for stage in self.stages)

    @property
    def duration_s(self) -> float:
        """Length of all stages; of one round where they repeat."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def mean_rate(self) -> float:
        return self.arrivals / self.duration_s

    def when(self, count: Floats) -> Floats:
        """Times at which the cumulative rate reaches `count`; inf where it never does."""
        total = self.arrivals
        if not self.repeats:
            return np.where(count < total, self._within(np.minimum(count, total)), np.inf)
        rounds = np.floor(count / total)
        return rounds * self.duration_s + self._within(count - rounds * total)

    def _within(self, count: Floats) -> Floats:
        """The same inside one round."""
        ends = np.cumsum([stage.arrivals for stage in self.stages])
        # A stage without arrivals ends where it begins, and is passed over.
        chosen = np.minimum(np.searchsorted(ends, count, side="right"), len(ends) - 1)
        times = np.empty_like(count)
        begin_s, begin_count = 0.0, 0.0
        for index, stage in enumerate(self.stages):
            here = chosen == index
            times[here] = begin_s + stage.when(np.maximum(count[here] - begin_count, 0.0))
            begin_s += stage.duration_s
            begin_count = float(ends[index])
        return times


def curve(load: Load) -> Curve:
    """The rate over time of a load whose pattern has one."""
    if load.stages is not None:
        return _of_stages(load.stages)
    if load.burst is not None:
        return _of_burst(load.burst)
    assert load.rate is not None
    return Curve((Ramp(load.rate, load.rate, 1.0),), repeats=True)


def _of_stages(stages: Sequence[Stage]) -> Curve:
    parts: list[Ramp | Wave] = []
    before = 0.0
    for stage in stages:
        part: Ramp | Wave
        if stage.sine is not None:
            sine = stage.sine
            part = Wave(sine.mean, sine.amplitude, sine.period_s, sine.phase, stage.duration_s)
        else:
            start = before if stage.rate is None else stage.rate
            part = Ramp(start, start if stage.ramp_to is None else stage.ramp_to, stage.duration_s)
        before = part.end
        parts.append(part)
    return Curve(tuple(parts))


def _of_burst(burst: Burst) -> Curve:
    on = Ramp(burst.rate, burst.rate, burst.on_s)
    off = Ramp(burst.off_rate, burst.off_rate, burst.off_s)
    return Curve((on, off), repeats=True)
