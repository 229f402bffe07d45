"""/metrics in Prometheus' text format, under the names of the engine that is played."""

from collections.abc import Iterator, Mapping, Set
from typing import NamedTuple

from runners.simulator.metrics import Gauges, Histogram, Metrics

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


class Family(NamedTuple):
    """One metric with its samples: (suffix of the name, labels of its own, value)."""

    name: str
    kind: str
    samples: tuple[Sample, ...]


def exposition(metrics: Metrics, gauges: Gauges, model: str, apis: Set[str]) -> bytes:
    """The text of /metrics: the names of every engine that `apis` belong to.

    vLLM's for OpenAI's APIs and the Open Inference Protocol, and where there are none.
    """
    lines: list[str] = []
    if "tgi" in apis:
        lines += _lines(_tgi(metrics, gauges), {})
    if "triton" in apis:
        lines += _lines(_triton(metrics, gauges), {"model": model, "version": "1"})
    if "trtllm-serve" in apis:
        lines += _lines(_trtllm(metrics, gauges), {"engine_type": "trtllm", "model_name": model})
    if not apis or apis & {"chat", "completions", "oip"}:
        lines += _lines(_vllm(metrics, gauges), {"engine": "0", "model_name": model})
    return "".join(lines).encode()


def _lines(families: Iterator[Family], base: Labels) -> Iterator[str]:
    for name, kind, samples in families:
        yield f"# HELP {name} Simulated.\n# TYPE {name} {kind}\n"
        for suffix, labels, value in samples:
            pairs = ",".join(
                f'{key}="{_escaped(text)}"' for key, text in {**base, **labels}.items()
            )
            yield f"{name}{suffix}{{{pairs}}} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _one(name: str, kind: str, value: float, labels: Labels | None = None) -> Family:
    return Family(name, kind, (("", labels or {}, value),))


def _split(name: str, kind: str, label: str, values: Mapping[str, float]) -> Family:
    return Family(name, kind, tuple(("", {label: word}, value) for word, value in values.items()))


def _histogram(name: str, histogram: Histogram) -> Family:
    return Family(name, "histogram", tuple(histogram.samples()))


def _vllm(metrics: Metrics, gauges: Gauges) -> Iterator[Family]:
    yield _one("vllm:num_requests_running", "gauge", gauges.running)
    yield _one("vllm:num_requests_waiting", "gauge", gauges.waiting)
    yield _one("vllm:kv_cache_usage_perc", "gauge", gauges.kv_cache_usage)
    sizes = {"block_size": str(gauges.block_size), "num_gpu_blocks": str(gauges.blocks)}
    yield _one("vllm:cache_config_info", "gauge", 1, sizes)
    for name, value in (
        ("prompt_tokens_total", metrics.prompt_tokens),
        ("prompt_tokens_cached_total", metrics.cached_tokens),
        ("generation_tokens_total", metrics.generation_tokens),
        ("num_preemptions_total", metrics.preemptions),
        ("prefix_cache_queries_total", metrics.prefix_queries),
        ("prefix_cache_hits_total", metrics.prefix_hits),
    ):
        yield _one(f"vllm:{name}", "counter", value)
    positions = metrics.accepted_per_position
    if positions:
        yield _one("vllm:spec_decode_num_drafts_total", "counter", metrics.drafts)
        yield _one("vllm:spec_decode_num_draft_tokens_total", "counter", metrics.draft_tokens)
        yield _one("vllm:spec_decode_num_accepted_tokens_total", "counter", sum(positions))
        yield _split(
            "vllm:spec_decode_num_accepted_tokens_per_pos_total",
            "counter",
            "position",
            {str(position): count for position, count in enumerate(positions)},
        )
    yield _split("vllm:request_success_total", "counter", "finished_reason", metrics.finished)
    yield _histogram("vllm:time_to_first_token_seconds", metrics.ttft)
    yield _histogram("vllm:inter_token_latency_seconds", metrics.itl)
    yield _histogram("vllm:request_time_per_output_token_seconds", metrics.tpot)
    yield _histogram("vllm:e2e_request_latency_seconds", metrics.e2e)
    yield _histogram("vllm:request_queue_time_seconds", metrics.queue)


def _tgi(metrics: Metrics, gauges: Gauges) -> Iterator[Family]:
    """TGI has no counters of tokens and no TTFT; lengths are seen when requests end."""
    failed = metrics.finished["error"] + metrics.finished["abort"]
    yield _one("tgi_queue_size", "gauge", gauges.waiting)
    yield _one("tgi_batch_current_size", "gauge", gauges.running)
    yield _one("tgi_request_count", "counter", sum(metrics.input_lengths.counts))
    yield _one("tgi_request_success", "counter", sum(metrics.output_lengths.counts))
    yield _one("tgi_request_failure", "counter", failed, {"err": "generation"})
    yield _histogram("tgi_request_duration", metrics.e2e)
    yield _histogram("tgi_request_queue_duration", metrics.queue)
    yield _histogram("tgi_request_mean_time_per_token_duration", metrics.tpot)
    yield _histogram("tgi_request_input_length", metrics.input_lengths)
    yield _histogram("tgi_request_generated_tokens", metrics.output_lengths)


def _trtllm(metrics: Metrics, gauges: Gauges) -> Iterator[Family]:
    yield _one("trtllm_num_requests_running", "gauge", gauges.running)
    yield _one("trtllm_num_requests_waiting", "gauge", gauges.waiting)
    yield _one("trtllm_kv_cache_utilization", "gauge", gauges.kv_cache_usage)
    yield _one("trtllm_prompt_tokens_total", "counter", metrics.prompt_tokens)
    yield _one("trtllm_prompt_cached_tokens_total", "counter", metrics.cached_tokens)
    yield _one("trtllm_generation_tokens_total", "counter", metrics.generation_tokens)
    positions = metrics.accepted_per_position
    if positions:
        yield _one("trtllm_spec_decode_num_draft_tokens_total", "counter", metrics.draft_tokens)
        yield _one("trtllm_spec_decode_num_accepted_tokens_total", "counter", sum(positions))
    yield _split("trtllm_request_success_total", "counter", "finished_reason", metrics.finished)
    yield _histogram("trtllm_time_to_first_token_seconds", metrics.ttft)
    yield _histogram("trtllm_time_per_output_token_seconds", metrics.tpot)
    yield _histogram("trtllm_e2e_request_latency_seconds", metrics.e2e)
    yield _histogram("trtllm_request_queue_time_seconds", metrics.queue)


def _triton(metrics: Metrics, gauges: Gauges) -> Iterator[Family]:
    """Triton counts requests; of its TensorRT-LLM backend there are gauges alone."""
    good = sum(metrics.output_lengths.counts)
    failed = metrics.finished["error"] + metrics.finished["abort"]
    yield _one("nv_inference_request_success", "counter", good)
    yield _one("nv_inference_request_failure", "counter", failed)
    requests = {
        "active": gauges.running + gauges.waiting,
        "scheduled": gauges.running,
        "waiting": gauges.waiting,
    }
    yield _split("nv_trt_llm_request_metrics", "gauge", "request_type", requests)
    used = round(gauges.kv_cache_usage * gauges.blocks)
    blocks = {
        "max": gauges.blocks,
        "used": used,
        "free": gauges.blocks - used,
        "tokens_per": gauges.block_size,
        "fraction": gauges.kv_cache_usage,
    }
    yield _split("nv_trt_llm_kv_cache_block_metrics", "gauge", "kv_cache_block_type", blocks)
