"""KServe: versions, modes, replicas and autoscaling."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.profiles.features import version_of
from runners.render.metadata import service_of

OLDEST, NEWEST = (0, 15), (0, 20)
SCALING = "serving.autoscaling"
AUTOSCALER = f"{SCALING}.autoscaler"
_METRICS = {
    "hpa": ("cpu", "memory"),
    "keda": ("prometheus", "cpu", "memory"),
    "kpa": ("concurrency", "rps"),
    "none": (),
}


def release(case: Case) -> tuple[int, int]:
    """KServe's release: (0, 20) for 0.20.1."""
    numbers = version_of(case.kserve_version)
    return numbers[0], numbers[1]


def deploys(case: Case) -> bool:
    """Whether objects are created; with serving.existing nothing is."""
    return case.profile.serving.existing is None


@rule(
    "kserve.version",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="The objects were validated against the CRDs of KServe 0.15 to 0.20; before 0.15 "
    "there is no autoscaler class none and no deploymentStrategy.",
    engines=(),
    targets=("kserve",),
)
def version(case: Case) -> Iterator[Hit]:
    """The objects are made for KServe 0.15 to 0.20; a newer one may know other fields."""
    found = release(case)
    if found < OLDEST:
        yield Hit(
            "serving.kserve_version",
            f"KServe {case.kserve_version} has no autoscaler class none and no "
            "deploymentStrategy, which the objects use.",
            'kserve_version: "0.15" or newer, on a cluster that has it',
        )
    elif found > NEWEST and deploys(case):
        yield Hit(
            "serving.kserve_version",
            f"KServe {case.kserve_version} is newer than 0.20, the newest that is known here.",
            "Look at --server-dry-run before you trust the objects.",
            severity="warning",
        )


@rule(
    "kserve.name-length",
    severity="warning",
    fails="on deployment",
    basis="source",
    evidence="KServe makes <name>-predictor-<namespace>.<domain> of the names; a DNS label has "
    "at most 63 characters.",
    engines=(),
    targets=("kserve",),
)
def name_length(case: Case) -> Iterator[Hit]:
    """Name and namespace together become one DNS label of at most 63 characters."""
    serving = case.profile.serving
    if not deploys(case) or serving.namespace is None:
        return
    label = f"{service_of(case.profile)}-predictor-{serving.namespace}"
    if len(label) > 63:
        yield Hit(
            "serving.service" if serving.service else "name",
            f"{label} has {len(label)} characters; a host name's part has at most 63.",
            f"serving.service: a name of at most {max(1, 52 - len(serving.namespace))} characters",
        )


@rule(
    "kserve.autoscaler-mode",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="KPA is Knative's own autoscaler; KServe makes KEDA ScaledObjects in Standard mode "
    "only.",
    engines=(),
    targets=("kserve",),
)
def autoscaler_mode(case: Case) -> Iterator[Hit]:
    """kpa belongs to mode Knative, keda to mode Standard; hpa works in both."""
    serving = case.profile.serving
    asked = serving.autoscaling.autoscaler
    if asked == "kpa" and serving.mode == "Standard":
        yield Hit(
            AUTOSCALER,
            "kpa is Knative's autoscaler, and the mode is Standard.",
            "autoscaler: hpa, or serving.mode: Knative",
            (Change("serving.mode", "Knative", "the mode that has kpa"),),
        )
    if asked == "keda" and serving.mode == "Knative":
        yield Hit(
            AUTOSCALER,
            "KServe uses keda in mode Standard only, and the mode is Knative.",
            "serving.mode: Standard, or autoscaler: kpa",
            (Change("serving.mode", "Standard", "the mode that has keda"),),
        )


@rule(
    "kserve.scale-to-zero",
    severity="error",
    fails="silently",
    basis="source",
    evidence="KServe raises minReplicas 0 to 1 for a HorizontalPodAutoscaler; without replicas "
    "there is no cpu or memory to follow.",
    engines=(),
    targets=("kserve",),
)
def scale_to_zero(case: Case) -> Iterator[Hit]:
    """Only kpa, and keda with a Prometheus metric, scale to zero."""
    scaling = case.profile.serving.autoscaling
    if scaling.min_replicas != 0 or case.profile.serving.kind != "InferenceService":
        return
    asked = scaling.autoscaler
    if asked == "kpa" or (asked == "keda" and scaling.metric in (None, "prometheus")):
        return
    what = f"keda on {scaling.metric}" if asked == "keda" else asked
    yield Hit(
        f"{SCALING}.min_replicas",
        f"{what} cannot scale to zero.",
        "min_replicas: 1, or keda with metric prometheus, or kpa in mode Knative",
        (Change(f"{SCALING}.min_replicas", 1, "always one replica"),),
    )


@rule(
    "kserve.metric",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="The webhook of KServe takes cpu and memory for hpa, concurrency and rps for kpa; "
    "keda follows resources or an external metric.",
    engines=(),
    targets=("kserve",),
)
def metric(case: Case) -> Iterator[Hit]:
    """Each autoscaler follows metrics of its own."""
    scaling = case.profile.serving.autoscaling
    allowed = _METRICS[scaling.autoscaler]
    if case.profile.serving.kind != "InferenceService":
        return
    if not allowed:
        for name in ("metric", "target", "query", "prometheus"):
            if getattr(scaling, name) is not None:
                yield Hit(
                    f"{SCALING}.{name}",
                    "nothing follows it while autoscaler is none.",
                    "Name an autoscaler, or remove it.",
                    (Change(f"{SCALING}.{name}", REMOVE, "nothing scales"),),
                )
        return
    if scaling.metric is None or scaling.metric in allowed:
        return
    yield Hit(
        f"{SCALING}.metric",
        f"{scaling.autoscaler} does not follow {scaling.metric}.",
        f"metric: {' or '.join(allowed)}",
        (Change(f"{SCALING}.metric", allowed[0], f"what {scaling.autoscaler} follows first"),),
    )


@rule(
    "kserve.keda-incomplete",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="An external metric of a ScaledObject needs serverAddress, query and a target value.",
    engines=(),
    targets=("kserve",),
)
def keda_incomplete(case: Case) -> Iterator[Hit]:
    """keda on a Prometheus metric needs the server, the query and the target."""
    scaling = case.profile.serving.autoscaling
    if scaling.autoscaler != "keda" or scaling.metric not in (None, "prometheus"):
        return
    examples = {
        "prometheus": "http://prometheus.monitoring:9090",
        "query": "sum(vllm:num_requests_running)",
        "target": "16",
    }
    for name, example in examples.items():
        if getattr(scaling, name) is None:
            yield Hit(
                f"{SCALING}.{name}",
                f"keda follows a Prometheus metric, and {name} is not given.",
                f"{name}: {example}",
            )


@rule(
    "kserve.replica-limits",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="The webhook of KServe refuses minReplicas above maxReplicas.",
    engines=(),
    targets=("kserve",),
)
def replica_limits(case: Case) -> Iterator[Hit]:
    """The fewest replicas are not more than the most."""
    scaling = case.profile.serving.autoscaling
    if scaling.autoscaler != "none" and scaling.min_replicas > scaling.max_replicas:
        yield Hit(
            f"{SCALING}.min_replicas",
            f"at least {scaling.min_replicas} and at most {scaling.max_replicas} replicas "
            "contradict each other.",
            f"max_replicas: {scaling.min_replicas}",
            (Change(f"{SCALING}.max_replicas", scaling.min_replicas, "as many as the fewest"),),
        )


@rule(
    "kserve.replicas-twice",
    severity="error",
    fails="silently",
    basis="practice",
    evidence="serving.replicas pins the number, serving.autoscaling lets it change; only one can "
    "hold.",
    engines=(),
    targets=("kserve",),
)
def replicas_twice(case: Case) -> Iterator[Hit]:
    """Replicas are given by serving.replicas, or by an autoscaler's limits."""
    serving = case.profile.serving
    scaling = serving.autoscaling
    limits = (scaling.min_replicas, scaling.max_replicas)
    if serving.kind != "InferenceService":
        return
    if scaling.autoscaler == "none":
        if limits not in ((1, 1), (serving.replicas, serving.replicas)) and limits[0] != 0:
            yield Hit(
                SCALING,
                f"it says {limits[0]} to {limits[1]} replicas, but autoscaler is none, which pins "
                f"serving.replicas ({serving.replicas}).",
                f"serving.replicas: {limits[1]}, or name an autoscaler",
            )
    elif serving.replicas != 1:
        yield Hit(
            "serving.replicas",
            f"{scaling.autoscaler} sets the replicas, between {limits[0]} and {limits[1]}.",
            "Remove serving.replicas.",
            (Change("serving.replicas", 1, "the autoscaler decides"),),
        )


@rule(
    "kserve.target-percent",
    severity="error",
    fails="on deployment",
    basis="source",
    evidence="Utilization targets are whole percentages of the request, concurrency and rps "
    "whole numbers (int32 in the CRD).",
    engines=(),
    targets=("kserve",),
)
def target_percent(case: Case) -> Iterator[Hit]:
    """Targets on cpu and memory are percentages; all but Prometheus ones are whole."""
    scaling = case.profile.serving.autoscaling
    value = scaling.target
    if value is None or scaling.autoscaler == "none":
        return
    followed = scaling.metric or _METRICS[scaling.autoscaler][0]
    if followed == "prometheus":
        return
    if value != int(value):
        yield Hit(
            f"{SCALING}.target",
            f"{value:g} is no whole number.",
            f"target: {round(value) or 1}",
            (Change(f"{SCALING}.target", round(value) or 1, "rounded"),),
        )
    elif followed in ("cpu", "memory") and value > 100:
        yield Hit(
            f"{SCALING}.target",
            f"{followed} is a percentage of the request, and {value:g} is above 100.",
            "target: 80",
            (Change(f"{SCALING}.target", 80, "KServe's default"),),
        )


@rule(
    "kserve.autoscaled",
    severity="info",
    fails="in the results",
    basis="practice",
    evidence="Percentiles over a changing number of replicas mix start-ups and queues with "
    "service.",
    engines=(),
    targets=("kserve",),
)
def autoscaled(case: Case) -> Iterator[Hit]:
    """With an autoscaler the number of replicas may change while it is measured."""
    scaling = case.profile.serving.autoscaling
    if scaling.autoscaler != "none" and scaling.min_replicas != scaling.max_replicas:
        yield Hit(
            AUTOSCALER,
            f"{scaling.autoscaler} may run {scaling.min_replicas} to {scaling.max_replicas} "
            "replicas during the run; changes are told in the results.",
            "autoscaler: none with serving.replicas, unless scaling is what you measure",
        )


@rule(
    "kserve.knative-benchmark",
    severity="warning",
    fails="in the results",
    basis="documents",
    evidence="kserve#4884: queue-proxy and activator lose requests and add seconds to TTFT when "
    "clients cancel streams.",
    engines=(),
    targets=("kserve",),
)
def knative_benchmark(case: Case) -> Iterator[Hit]:
    """In mode Knative, requests pass Knative's proxies, which are measured too."""
    serving = case.profile.serving
    if serving.mode == "Knative" and serving.autoscaling.autoscaler == "none":
        yield Hit(
            "serving.mode",
            "Knative's queue-proxy and activator stand between load and engine, and nothing here "
            "scales.",
            "serving.mode: Standard, unless Knative is what you measure",
            (Change("serving.mode", "Standard", "no proxy in between"),),
        )
