"""Triton with the TensorRT-LLM backend, at :8002/metrics: one name, a label for each thing.

Token counts are the sums of the length histograms, which count an answer when it has ended
(TensorRT-LLM 0.17 and later). Preempted requests are a gauge here: `paused`. Prefix hits are
not told as a share of anything. Triton's own queue time is that of its scheduler, before the
batcher's, and is left out.
"""

from runners.telemetry.engine_names import EngineNames, Gauge

_REQUESTS = ("nv_trt_llm_request_metrics",)

NAMES = EngineNames(
    engine="triton",
    counters={
        "prompt_tokens": ("nv_llm_input_token_len_sum",),
        "generation_tokens": ("nv_llm_output_token_len_sum",),
        "requests_ok": ("nv_inference_request_success_total", "nv_inference_request_success"),
        "requests_failed": ("nv_inference_request_failure_total", "nv_inference_request_failure"),
    },
    gauges={
        "running": Gauge(_REQUESTS, "sum", {"request_type": "scheduled"}),
        "waiting": Gauge(_REQUESTS, "sum", {"request_type": "waiting"}),
        "kv_cache_usage": Gauge(
            ("nv_trt_llm_kv_cache_block_metrics",), "mean", {"kv_cache_block_type": "fraction"}
        ),
        "paused": Gauge(
            ("nv_trt_llm_inflight_batcher_metrics",),
            "sum",
            {"inflight_batcher_specific_metric": "paused_requests"},
        ),
    },
)
