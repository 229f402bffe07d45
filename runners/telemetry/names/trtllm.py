"""trtllm-serve, at /prometheus/metrics; without the prefix before TensorRT-LLM 1.2.

Drafts are not counted, only their tokens; `time_per_output_token_seconds` is left out: it
is a mean per request, not a gap between tokens.
"""

from runners.telemetry.engine_names import EngineNames, Gauge, Labelled

NAMES = EngineNames(
    engine="tensorrt-llm",
    counters={
        "prompt_tokens": ("trtllm_prompt_tokens_total",),
        "generation_tokens": ("trtllm_generation_tokens_total",),
        "cached_prompt_tokens": ("trtllm_prompt_cached_tokens_total",),
        # Its own hits are blocks; tokens of prompts say the same in the unit of the others.
        "prefix_cache_queries": ("trtllm_prompt_tokens_total",),
        "prefix_cache_hits": ("trtllm_prompt_cached_tokens_total",),
        "draft_tokens": ("trtllm_spec_decode_num_draft_tokens_total",),
        "accepted_tokens": ("trtllm_spec_decode_num_accepted_tokens_total",),
    },
    labelled={
        "request_success": Labelled(
            ("trtllm_request_success_total", "request_success_total"), "finished_reason"
        ),
    },
    gauges={
        "running": Gauge(("trtllm_num_requests_running",), "sum"),
        "waiting": Gauge(("trtllm_num_requests_waiting",), "sum"),
        "kv_cache_usage": Gauge(("trtllm_kv_cache_utilization",), "mean"),
    },
    histograms={
        "ttft": ("trtllm_time_to_first_token_seconds", "time_to_first_token_seconds"),
        "e2e_latency": ("trtllm_e2e_request_latency_seconds", "e2e_request_latency_seconds"),
        "queue_time": ("trtllm_request_queue_time_seconds", "request_queue_time_seconds"),
    },
)
