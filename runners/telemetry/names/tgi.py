"""TGI 3: no counters of tokens and no TTFT.

Token counts are the sums of the length histograms: prompts count when a request has been
validated, answers when it has ended. `tgi_request_mean_time_per_token_duration` is left
out: it includes the prefill.
"""

from runners.telemetry.engine_names import EngineNames, Gauge, Labelled

NAMES = EngineNames(
    engine="tgi",
    counters={
        "prompt_tokens": ("tgi_request_input_length_sum",),
        "generation_tokens": ("tgi_request_generated_tokens_sum",),
    },
    labelled={
        "request_failure": Labelled(("tgi_request_failure", "tgi_request_failure_total"), "err")
    },
    gauges={
        "running": Gauge(("tgi_batch_current_size",), "sum"),
        "waiting": Gauge(("tgi_queue_size",), "sum"),
    },
    histograms={
        "e2e_latency": ("tgi_request_duration",),
        "queue_time": ("tgi_request_queue_duration",),
    },
)
