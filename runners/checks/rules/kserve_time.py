"""KServe: how long start-up and requests may take."""

from collections.abc import Iterator

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.memory_fit import GIB, weight_bytes
from runners.checks.rule import Change, Hit, rule
from runners.checks.rules.kserve import deploys
from runners.checks.rules.scheduler import is_on

# Assumptions of an estimate, in GiB/s and s; said in the message.
_DOWNLOAD, _READ = 0.2, 0.5
_START, _START_EAGER = 120.0, 60.0
_TOKENS_PER_S = 20
_KNATIVE_DEADLINE_S = 600
_DEADLINE = "serving.knative.dev/progress-deadline"


def weights_gib(case: Case) -> float | None:
    """All weights of the model in GiB; None where its size is not known."""
    if case.model is None:
        return None
    size = weight_bytes(case.model, formats.method(case), formats.dtype(case) or "bfloat16")
    return None if size is None else size / GIB


def expected_start_s(case: Case) -> float | None:
    """Download, reading of the weights and start of the engine; None: size not known."""
    size = weights_gib(case)
    if size is None:
        return None
    download = 0.0 if case.profile.model.uri.startswith("pvc://") else size / _DOWNLOAD
    engine = _START_EAGER if is_on(case, "enforce_eager") else _START
    return download + size / _READ + engine


@rule(
    "kserve.startup-budget",
    severity="warning",
    fails="on deployment",
    basis="arithmetic",
    evidence="The startup probe's budget is serving.startup_timeout_s; the kubelet kills a "
    "container that is not ready by then (kserve#3795).",
    engines=("vllm", "tgi", "tensorrt-llm"),
    targets=("kserve",),
)
def startup_budget(case: Case) -> Iterator[Hit]:
    """The time for start-up should be longer than downloading and loading the weights takes."""
    if not deploys(case):
        return
    budget, expected = case.profile.serving.startup_timeout_s, expected_start_s(case)
    if expected is None or expected <= budget:
        return
    wanted = (int(expected * 1.5) // 300 + 1) * 300
    yield Hit(
        "serving.startup_timeout_s",
        f"{budget:g} s are less than the {expected:.0f} s that {weights_gib(case):.0f} GiB of "
        f"weights are expected to take (download at {_DOWNLOAD:g} GiB/s, reading at {_READ:g} "
        "GiB/s, compilation and graphs on top): the probe would kill a loading model.",
        f"startup_timeout_s: {wanted}",
        (Change("serving.startup_timeout_s", wanted, "the estimate and half of it again"),),
    )


@rule(
    "kserve.knative-timeout",
    severity="warning",
    fails="on deployment",
    basis="documents",
    evidence="Knative refuses a revision whose timeoutSeconds is above "
    "max-revision-timeout-seconds of config-defaults, 600 unless the cluster sets it.",
    engines=(),
    targets=("kserve",),
)
def knative_timeout(case: Case) -> Iterator[Hit]:
    """Knative lets a request take 600 s at most, unless the cluster allows more."""
    serving = case.profile.serving
    asked = serving.longest_request_s()
    if serving.mode == "Knative" and asked > _KNATIVE_DEADLINE_S:
        yield Hit(
            "serving.request_timeout_s",
            f"{asked} s are above the {_KNATIVE_DEADLINE_S} s of a cluster "
            "that was not told otherwise (max-revision-timeout-seconds).",
            f"request_timeout_s: {_KNATIVE_DEADLINE_S}",
            (Change("serving.request_timeout_s", _KNATIVE_DEADLINE_S, "Knative's default limit"),),
        )


@rule(
    "kserve.request-timeout",
    severity="warning",
    fails="on each request",
    basis="arithmetic",
    evidence="The HTTPRoute's (Standard) or revision's (Knative) timeout ends a stream in the "
    "middle: HTTP 200, then the end of the connection.",
    engines=(),
    targets=("kserve",),
)
def request_timeout(case: Case) -> Iterator[Hit]:
    """KServe's routes should let a request take as long as the longest one does."""
    if not deploys(case):
        return
    profile = case.profile
    allowed = profile.serving.longest_request_s()
    slow = profile.workload.max_tokens / _TOKENS_PER_S
    limit = (profile.slo.e2e_latency_ms or 0.0) / 1000
    if max(slow, limit) <= allowed:
        return
    why = (
        f"{allowed} s are less than the {limit:g} s that slo.e2e_latency_ms allows."
        if limit >= slow
        else f"{allowed} s are less than {profile.workload.max_tokens} tokens take at "
        f"{_TOKENS_PER_S} tokens per second ({slow:.0f} s)."
    )
    wanted = int(max(slow, limit)) + 60
    yield Hit(
        "serving.request_timeout_s",
        why,
        f"request_timeout_s: {wanted}",
        (Change("serving.request_timeout_s", wanted, "a minute above the longest request"),),
    )


@rule(
    "kserve.client-timeout",
    severity="warning",
    fails="on each request",
    basis="arithmetic",
    evidence="Without streaming, the first byte comes with the last token; load.timeout_s counts "
    "the time without a byte.",
    engines=(),
    targets=("kserve", "local", "url"),
)
def client_timeout(case: Case) -> Iterator[Hit]:
    """Without streaming, a whole answer must come within load.timeout_s."""
    profile = case.profile
    slow = profile.workload.max_tokens / _TOKENS_PER_S
    if not profile.workload.stream and slow > profile.load.timeout_s:
        yield Hit(
            "load.timeout_s",
            f"an answer of {profile.workload.max_tokens} tokens comes in one piece, after "
            f"{slow:.0f} s at {_TOKENS_PER_S} tokens per second; the client gives up after "
            f"{profile.load.timeout_s:g} s.",
            f"timeout_s: {int(slow) + 60}, or workload.stream: true",
        )
