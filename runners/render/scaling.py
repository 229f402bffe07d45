"""Replicas and autoscaling, as each deployment mode and autoscaler wants to be told."""

from dataclasses import dataclass, field
from typing import Any

from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render.metadata import kserve_version
from runners.render.templates import Object

_KEY = "serving.autoscaling"


@dataclass(frozen=True)
class Scaling:
    """annotations: of the InferenceService. predictor: keys of spec.predictor."""

    annotations: dict[str, str]
    predictor: Object = field(default_factory=dict)


def scaling(profile: Profile) -> Scaling:
    """Mode, autoscaler and limits. Raises UsageError for what does not go together."""
    serving = profile.serving
    wanted = serving.autoscaling
    annotations = {"serving.kserve.io/deploymentMode": deployment_mode(profile)}
    if wanted.autoscaler == "none":
        _replicas_in_one_place(profile)
        if serving.mode == "Standard":
            annotations["serving.kserve.io/autoscalerClass"] = "none"
        return Scaling(annotations, _between(serving.replicas, serving.replicas))
    if serving.replicas != 1:
        raise UsageError(
            f"serving.replicas: {wanted.autoscaler} sets the replicas; remove it and use "
            f"{_KEY}.min_replicas and max_replicas"
        )
    if wanted.min_replicas > wanted.max_replicas:
        raise UsageError(f"{_KEY}.min_replicas: it is above max_replicas; lower it")
    limits = _between(wanted.min_replicas, wanted.max_replicas)
    if wanted.autoscaler == "kpa":
        return Scaling(annotations, {**limits, **_kpa(profile)})
    if wanted.autoscaler == "keda":
        annotations["serving.kserve.io/autoscalerClass"] = "keda"
        return Scaling(annotations, {**limits, "autoScaling": {"metrics": [_keda(profile)]}})
    name, percent = _utilization(profile)
    if serving.mode == "Knative":
        annotations["autoscaling.knative.dev/class"] = "hpa.autoscaling.knative.dev"
        return Scaling(annotations, {**limits, "scaleMetric": name, "scaleTarget": percent})
    annotations["serving.kserve.io/autoscalerClass"] = "hpa"
    metrics = [_resource_metric(name, percent)]
    return Scaling(annotations, {**limits, "autoScaling": {"metrics": metrics}})


def deployment_mode(profile: Profile) -> str:
    """The annotation's value; before 0.16 the modes had other names."""
    if kserve_version(profile) >= (0, 16):
        return profile.serving.mode
    return {"Standard": "RawDeployment", "Knative": "Serverless"}[profile.serving.mode]


def _between(fewest: int, most: int) -> Object:
    return {"minReplicas": fewest, "maxReplicas": most}


def _replicas_in_one_place(profile: Profile) -> None:
    wanted, replicas = profile.serving.autoscaling, profile.serving.replicas
    if (wanted.min_replicas, wanted.max_replicas) not in ((1, 1), (replicas, replicas)):
        raise UsageError(
            f"{_KEY}: replicas without an autoscaler are set by serving.replicas; "
            f"name an autoscaler in {_KEY}.autoscaler, or remove the limits"
        )
    for key in ("metric", "target", "query", "prometheus"):
        if getattr(wanted, key) is not None:
            raise UsageError(
                f"{_KEY}.{key}: nothing follows it while autoscaler is none; name one, or remove it"
            )


def _kpa(profile: Profile) -> Object:
    wanted = profile.serving.autoscaling
    if profile.serving.mode != "Knative":
        raise UsageError(f"{_KEY}.autoscaler: kpa is Knative's; set serving.mode: Knative, or hpa")
    metric = wanted.metric or "concurrency"
    if metric not in ("concurrency", "rps"):
        raise UsageError(f"{_KEY}.metric: kpa follows concurrency or rps, not {metric}; use one")
    target = {} if wanted.target is None else {"scaleTarget": _whole(wanted.target)}
    return {"scaleMetric": metric, **target}


def _keda(profile: Profile) -> Object:
    wanted = profile.serving.autoscaling
    if profile.serving.mode != "Standard":
        raise UsageError(f"{_KEY}.autoscaler: KServe uses keda in mode Standard only; use kpa")
    metric = wanted.metric or "prometheus"
    if metric != "prometheus":
        if wanted.min_replicas == 0:
            raise UsageError(
                f"{_KEY}.min_replicas: without replicas there is no {metric} to follow; "
                "use metric prometheus, or at least 1"
            )
        return _resource_metric(*_utilization(profile))
    for key in ("query", "prometheus", "target"):
        if getattr(wanted, key) is None:
            raise UsageError(f"{_KEY}.{key}: keda needs it with metric prometheus; give it")
    source = {
        "backend": "prometheus",
        "serverAddress": wanted.prometheus,
        "query": wanted.query,
    }
    # KServe reads `value` only, and KEDA takes it per replica.
    target = {"type": "Value", "value": f"{wanted.target:g}"}
    return {"type": "External", "external": {"metric": source, "target": target}}


def _utilization(profile: Profile) -> tuple[str, int]:
    """(cpu or memory, percent of the request); a HorizontalPodAutoscaler keeps one replica."""
    wanted = profile.serving.autoscaling
    metric = wanted.metric or "cpu"
    if metric not in ("cpu", "memory"):
        raise UsageError(
            f"{_KEY}.metric: {wanted.autoscaler} follows cpu or memory here, not {metric}; use one"
        )
    if wanted.min_replicas == 0:
        raise UsageError(
            f"{_KEY}.min_replicas: {wanted.autoscaler} cannot scale to zero; use keda with metric "
            "prometheus, or kpa in mode Knative"
        )
    percent = _whole(80.0 if wanted.target is None else wanted.target)
    if percent > 100:
        raise UsageError(f"{_KEY}.target: {metric} is a percentage, {percent} is above 100")
    return metric, percent


def _resource_metric(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _whole(target: float) -> int:
    if target != int(target):
        raise UsageError(f"{_KEY}.target: {target:g} must be a whole number here; round it")
    return int(target)
