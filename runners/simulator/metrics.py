"""Counters under vLLM's names, in Prometheus' text format."""

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
FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Observations in seconds, counted in buckets with inclusive upper bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect_left(self.bounds, value_s)] += 1
        self.sum += value_s

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
    """What has been counted since the start; tokens count when their bytes are written."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    generation_tokens: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_per_position: list[int] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED_REASONS, 0))
    ttft: Histogram = field(default_factory=lambda: Histogram(_TTFT_BOUNDS_S))
    tpot: Histogram = field(default_factory=lambda: Histogram(_TPOT_BOUNDS_S))
    e2e: Histogram = field(default_factory=lambda: Histogram(_REQUEST_BOUNDS_S))
    queue: Histogram = field(default_factory=lambda: Histogram(_REQUEST_BOUNDS_S))

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


def exposition(metrics: Metrics, gauges: Gauges, model: str) -> bytes:
    """The text of /metrics."""
    lines: list[str] = []
    base = {"engine": "0", "model_name": model}

    def family(name: str, kind: str, *samples: tuple[str, Mapping[str, str], float]) -> None:
        lines.append(f"# HELP vllm:{name} Simulated.\n# TYPE vllm:{name} {kind}\n")
        for suffix, labels, value in samples:
            pairs = ",".join(
                f'{key}="{_escaped(text)}"' for key, text in {**base, **labels}.items()
            )
            lines.append(f"vllm:{name}{suffix}{{{pairs}}} {value}\n")

    family("num_requests_running", "gauge", ("", {}, gauges.running))
    family("num_requests_waiting", "gauge", ("", {}, gauges.waiting))
    family("kv_cache_usage_perc", "gauge", ("", {}, gauges.kv_cache_usage))
    sizes = {"block_size": str(gauges.block_size), "num_gpu_blocks": str(gauges.blocks)}
    family("cache_config_info", "gauge", ("", sizes, 1))
    for name, value in _counters(metrics):
        family(name, "counter", ("", {}, value))
    family(
        "request_success_total",
        "counter",
        *(("", {"finished_reason": reason}, count) for reason, count in metrics.finished.items()),
    )
    if metrics.accepted_per_position:
        family(
            "spec_decode_num_accepted_tokens_per_pos_total",
            "counter",
            *(
                ("", {"position": str(position)}, count)
                for position, count in enumerate(metrics.accepted_per_position)
            ),
        )
    family("time_to_first_token_seconds", "histogram", *metrics.ttft.samples())
    family("request_time_per_output_token_seconds", "histogram", *metrics.tpot.samples())
    family("e2e_request_latency_seconds", "histogram", *metrics.e2e.samples())
    family("request_queue_time_seconds", "histogram", *metrics.queue.samples())
    return "".join(lines).encode()


def _counters(metrics: Metrics) -> Iterator[tuple[str, int]]:
    yield "prompt_tokens_total", metrics.prompt_tokens
    yield "prompt_tokens_cached_total", metrics.cached_tokens
    yield "generation_tokens_total", metrics.generation_tokens
    yield "num_preemptions_total", 0
    yield "prefix_cache_queries_total", metrics.prefix_queries
    yield "prefix_cache_hits_total", metrics.prefix_hits
    if metrics.accepted_per_position:
        yield "spec_decode_num_drafts_total", metrics.drafts
        yield "spec_decode_num_draft_tokens_total", metrics.draft_tokens
        accepted = sum(metrics.accepted_per_position)
        yield "spec_decode_num_accepted_tokens_total", accepted


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
