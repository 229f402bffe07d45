"""What the simulator counts; under which names it is told is in exposition.py."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_TPOT_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_REQUEST_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0),
    *(30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_LENGTH_BOUNDS = tuple(float(2**power) for power in range(16))
FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Observations, counted in buckets with inclusive upper bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """(suffix, labels, value), buckets cumulative."""
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            label = "+Inf" if bound == float("inf") else str(bound)
            yield "_bucket", {"le": label}, total
        yield "_count", {}, total
        yield "_sum", {}, self.sum


@dataclass
class Metrics:
    """What has been counted since the start; tokens count when their bytes are written.

    apis: those that requests have come through. Histograms are in seconds, apart from
    input_lengths and output_lengths in tokens: one value per request that was accepted,
    and per one that ended well.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    generation_tokens: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_per_position: list[int] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED_REASONS, 0))
    ttft: Histogram = field(default_factory=lambda: Histogram(_TTFT_BOUNDS_S))
    itl: Histogram = field(default_factory=lambda: Histogram(_TPOT_BOUNDS_S))
    tpot: Histogram = field(default_factory=lambda: Histogram(_TPOT_BOUNDS_S))
    e2e: Histogram = field(default_factory=lambda: Histogram(_REQUEST_BOUNDS_S))
    queue: Histogram = field(default_factory=lambda: Histogram(_REQUEST_BOUNDS_S))
    input_lengths: Histogram = field(default_factory=lambda: Histogram(_LENGTH_BOUNDS))
    output_lengths: Histogram = field(default_factory=lambda: Histogram(_LENGTH_BOUNDS))
    apis: set[str] = field(default_factory=set)

    def drafted(self, accepted: int) -> None:
        """One speculative step, of which the first `accepted` tokens were taken."""
        self.drafts += 1
        self.draft_tokens += len(self.accepted_per_position)
        for position in range(accepted):
            self.accepted_per_position[position] += 1


@dataclass(frozen=True)
class Gauges:
    """The state of the engine at a scrape; kv_cache_usage is a share of 1."""

    running: int
    waiting: int
    kv_cache_usage: float
    block_size: int
    blocks: int
