"""The objects of one profile on KServe: a ServingRuntime and an InferenceService."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from runners.engines import vllm
from runners.errors import UsageError
from runners.profiles.model import Model, Profile
from runners.render.gpus import node_products, resource_name
from runners.render.names import label_value, service_name
from runners.render.templates import Object, fill

MANAGED_BY = "kserve-bench"
RUN_LABEL = "kserve-bench/run"
PROFILE_LABEL = "kserve-bench/profile"
TTL_ANNOTATION = "kserve-bench/ttl-seconds"

STORAGE = ("hf://", "s3://", "gs://", "pvc://", "oci://", "https://")
PROBE_PERIOD_S = 10
# The upstream image may run under any user, whose home is not writable.
WRITABLE = {
    "HF_HOME": "/tmp/hf",
    "VLLM_CACHE_ROOT": "/tmp/vllm",
    "VLLM_CONFIG_ROOT": "/tmp",
    "VLLM_NO_USAGE_STATS": "1",
}


def render(profile: Profile, run_id: str | None = None) -> dict[str, Object]:
    """File name → Kubernetes object, in the order in which they are applied.

    The objects depend on nothing but the arguments. `run_id` becomes a label, by which
    they are found again; without it (a dry run) the label is absent.
    Raises UsageError for a profile that this version cannot render.
    """
    refuse_what_is_not_rendered(profile)
    values = template_values(profile, run_id)
    objects = {
        "servingruntime.yaml": fill("vllm/servingruntime.yaml.j2", values),
        "inferenceservice.yaml": fill("vllm/inferenceservice.yaml.j2", values),
    }
    for manifest in objects.values():
        refuse_go_templates(manifest)
    return objects


def refuse_what_is_not_rendered(profile: Profile) -> None:
    """One line for each choice that KServe offers and this version does not render."""
    backend = profile.engine.backend or profile.engine.name
    if backend != "vllm":
        raise UsageError(
            f"engine.backend: {backend} is not rendered by this version; vllm is (target kserve)"
        )
    if profile.serving.mode != "Standard":
        raise UsageError(
            f"serving.mode: {profile.serving.mode} is not rendered by this version; Standard is"
        )
    scaling = profile.serving.autoscaling
    if scaling.autoscaler != "none":
        raise UsageError(
            f"serving.autoscaling.autoscaler: {scaling.autoscaler} is not rendered by this "
            "version; none with serving.replicas is"
        )
    if (scaling.min_replicas, scaling.max_replicas) not in (
        (1, 1),
        2 * (profile.serving.replicas,),
    ):
        raise UsageError(
            "serving.autoscaling: replicas without an autoscaler are set by serving.replicas"
        )
    if profile.resources.gpu.count == 0 and profile.engine.image is None:
        raise UsageError(
            "resources.gpu.count: 0, but the engine's own image needs a GPU; set engine.image"
        )


def template_values(profile: Profile, run_id: str | None) -> dict[str, Any]:
    """What the templates of backend vllm name."""
    gpu = profile.resources.gpu
    service = profile.serving.service or service_name(profile.name)
    environment = {**WRITABLE, **profile.engine.env}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "runtime_metadata": metadata(profile, f"{service}-runtime", run_id),
        "service_metadata": service_metadata(profile, service, run_id),
        "image": profile.engine.image or f"vllm/vllm-openai:v{profile.engine.version}",
        "arguments": engine_arguments(profile),
        "environment": [{"name": name, "value": environment[name]} for name in environment],
        "startup_attempts": math.ceil(profile.serving.startup_timeout_s / PROBE_PERIOD_S),
        "resources": resources(profile),
        "shm": profile.resources.shm,
        "replicas": profile.serving.replicas,
        "tolerations": tolerations if gpu.count else [],
        "gpu_products": node_products(gpu),
        "storage_uri": storage_uri(profile.model),
    }


def metadata(profile: Profile, name: str, run_id: str | None) -> Object:
    """Name, namespace where the profile has one, and the labels by which we know our own."""
    labels = {
        "app.kubernetes.io/managed-by": MANAGED_BY,
        PROFILE_LABEL: label_value(profile.name),
    }
    if run_id is not None:
        labels[RUN_LABEL] = label_value(run_id)
    place = {"namespace": profile.serving.namespace} if profile.serving.namespace else {}
    return {
        "name": name,
        **place,
        "labels": labels,
        "annotations": {TTL_ANNOTATION: str(time_to_live_s(profile))},
    }


def service_metadata(profile: Profile, name: str, run_id: str | None) -> Object:
    """Standard mode without an autoscaler and without a route from outside the cluster."""
    common = metadata(profile, name, run_id)
    return {
        **common,
        "labels": {**common["labels"], "networking.kserve.io/visibility": "cluster-local"},
        "annotations": {
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": "none",
            **common["annotations"],
        },
    }


def time_to_live_s(profile: Profile) -> int:
    """Seconds after its creation at which an object is an orphan: start-up, load, an hour."""
    load_s = profile.load.duration_s or 3600.0
    return math.ceil(profile.serving.startup_timeout_s + load_s + 3600.0)


def engine_arguments(profile: Profile) -> list[str]:
    """Every flag of the engine, the toolkit's own first."""
    return [
        "--port=8080",
        f"--served-model-name={served_name(profile.model)}",
        *vllm.flags(profile.engine.args),
    ]


def served_name(model: Model) -> str:
    """The name that requests use."""
    return model.name or model.uri.rstrip("/").rsplit("/", 1)[-1]


def storage_uri(model: Model) -> str:
    """The model's place, which KServe's storage initializer must know how to fetch."""
    if not model.uri.startswith(STORAGE):
        raise UsageError(
            f"model.uri: KServe cannot fetch {model.uri}; use one of {' '.join(STORAGE)}"
        )
    return model.uri


def resources(profile: Profile) -> dict[str, str]:
    """Requests and limits alike: a replica that can borrow is not the same in every run."""
    asked = {"cpu": profile.resources.cpu, "memory": profile.resources.memory}
    gpu = profile.resources.gpu
    if gpu.count:
        asked[resource_name(gpu)] = str(gpu.count)
    return asked


def refuse_go_templates(manifest: Mapping[str, Any]) -> None:
    """KServe executes the container as a Go template, which would run a `{{` of ours."""
    for key, text in texts(manifest, manifest["kind"]):
        if "{{" in text:
            raise UsageError(
                f"{key}: KServe would execute the '{{{{' in {text[:60]!r}; "
                "mount such text (a chat template) from a ConfigMap or build it into the image"
            )


def texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text inside `value` with its dotted path."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from texts(inner, f"{key}[{position}]")
