"""Sleep mode, and what the server's metrics need."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import is_on


@rule(
    "sleep.platform",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="ModelConfig: sleep mode is not supported on current platform; it is available on "
    "CUDA, ROCm and XPU.",
)
def sleep_on_cpu(case: Case) -> Iterator[Hit]:
    """Sleep mode needs a GPU."""
    if case.on_cpu and is_on(case, "enable_sleep_mode"):
        yield Hit(
            "engine.args.enable_sleep_mode",
            "the CPU backend cannot put its memory to sleep, and the engine exits.",
            "Remove the line.",
            (Change("engine.args.enable_sleep_mode", REMOVE),),
        )


@rule(
    "metrics.off",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="With disable_log_stats AsyncLLM makes no stat loggers, and /metrics has no vllm: "
    "samples.",
)
def off(case: Case) -> Iterator[Hit]:
    """Without the engine's statistics there are no server metrics."""
    if is_on(case, "disable_log_stats"):
        yield Hit(
            "engine.args.disable_log_stats",
            "/metrics stays empty: cache usage, queue, acceptance and token counters are not "
            "measured.",
            "Remove the line.",
            (Change("engine.args.disable_log_stats", REMOVE),),
        )


@rule(
    "metrics.per-request",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="validate_parsed_serve_args raises: --enable-per-request-metrics requires engine "
    "statistics logging; remove --disable-log-stats.",
    versions=">=0.25",
)
def per_request(case: Case) -> Iterator[Hit]:
    """Metrics of each request need the engine's statistics."""
    if is_on(case, "enable_per_request_metrics") and is_on(case, "disable_log_stats"):
        yield Hit(
            "engine.args.disable_log_stats",
            "enable_per_request_metrics needs the statistics that are turned off.",
            "Remove disable_log_stats.",
            (Change("engine.args.disable_log_stats", REMOVE),),
        )


@rule(
    "metrics.speculation-of-requests",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="VllmConfig: per_request_spec_decode_metrics needs speculative decoding.",
    versions=">=0.29",
)
def speculation_of_requests(case: Case) -> Iterator[Hit]:
    """Speculation metrics of each request need speculation."""
    asked = case.args.get("per_request_spec_decode_metrics")
    if asked in (None, "none") or case.speculation is not None:
        return
    yield Hit(
        "engine.args.per_request_spec_decode_metrics",
        "it asks for metrics of speculation, which is off.",
        "Remove the line, or set speculative_config.",
        (Change("engine.args.per_request_spec_decode_metrics", REMOVE),),
    )
