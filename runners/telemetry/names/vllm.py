"""vLLM: names of 0.32, then those of older versions."""

from runners.telemetry.engine_names import EngineNames, Gauge, Labelled

NAMES = EngineNames(
    engine="vllm",
    counters={
        "prompt_tokens": ("vllm:prompt_tokens_total",),
        "generation_tokens": ("vllm:generation_tokens_total",),
        "cached_prompt_tokens": ("vllm:prompt_tokens_cached_total",),
        "preemptions": ("vllm:num_preemptions_total",),
        "prefix_cache_queries": (
            "vllm:prefix_cache_queries_total",
            "vllm:gpu_prefix_cache_queries_total",
        ),
        "prefix_cache_hits": (
            "vllm:prefix_cache_hits_total",
            "vllm:gpu_prefix_cache_hits_total",
        ),
        "drafts": ("vllm:spec_decode_num_drafts_total",),
        "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
        "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
    },
    labelled={
        "request_success": Labelled(("vllm:request_success_total",), "finished_reason"),
        "accepted_by_position": Labelled(
            ("vllm:spec_decode_num_accepted_tokens_per_pos_total",), "position"
        ),
    },
    gauges={
        "running": Gauge(("vllm:num_requests_running",), "sum"),
        "waiting": Gauge(("vllm:num_requests_waiting",), "sum"),
        "kv_cache_usage": Gauge(("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), "mean"),
    },
    histograms={
        "ttft": ("vllm:time_to_first_token_seconds",),
        "inter_token_latency": (
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds",
        ),
        "e2e_latency": ("vllm:e2e_request_latency_seconds",),
        "queue_time": ("vllm:request_queue_time_seconds",),
    },
)
