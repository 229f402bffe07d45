"""A profile as an LLMInferenceService: llm-d's vLLM with its router, prefill apart or not."""

import math
import shlex
from typing import Any

from runners.engines.arguments import backend_of
from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render.backends import arguments, hf_token, literal, served_name
from runners.render.gpus import placement, resources
from runners.render.metadata import (
    annotations_of,
    kserve_version,
    labels,
    metadata,
    service_of,
)
from runners.render.storage import CHAT_TEMPLATE_PATH, model_uri, speculation
from runners.render.storage import arguments as resolved
from runners.render.templates import Object, fill

_KIND = "serving.kind: LLMInferenceService"
# What the model section says there, and KServe passes on itself.
_LORA = {
    "max_lora_rank": "maxRank",
    "max_loras": "maxAdapters",
    "max_cpu_loras": "maxCpuAdapters",
}


def llm_inference_service(profile: Profile, run_id: str | None) -> dict[str, Object]:
    """File name → object. Raises UsageError for what llm-d or this KServe does not serve."""
    _refuse(profile)
    args = resolved(profile, {})
    lora = _lora(profile, args)
    serving, name = profile.serving, service_of(profile)
    common = metadata(profile, name, run_id)
    common["annotations"] = annotations_of(profile, common["annotations"])
    uri, _ = model_uri(profile.model)
    model = {"uri": uri, "name": served_name(profile)}
    values: dict[str, Any] = {
        "api_version": "serving.kserve.io/"
        + ("v1alpha2" if kserve_version(profile) >= (0, 17) else "v1alpha1"),
        "metadata": common,
        "model": {**model, **({"lora": lora} if lora else {})},
        "replicas": serving.replicas,
        "pod_labels": labels(profile, run_id) if kserve_version(profile) >= (0, 17) else {},
        "image": profile.engine.image,
        "placement": placement(profile),
        "probes": _probes(profile),
        "decode": {
            "environment": _environment(profile, args),
            "resources": resources(profile),
        },
        "prefill": _prefill(profile, args),
        **_files(profile),
    }
    file = "llm-inference-service/llminferenceservice.yaml.j2"
    return {"llminferenceservice.yaml": fill(file, values)}


def _refuse(profile: Profile) -> None:
    serving, version = profile.serving, kserve_version(profile)
    if backend_of(profile) != "vllm":
        raise UsageError(f"{_KIND} serves with vllm only, not {backend_of(profile)}; use vllm")
    if version < (0, 16):
        raise UsageError(f"{_KIND} needs KServe 0.16; this is {serving.kserve_version}")
    if serving.mode != "Standard" or serving.autoscaling.autoscaler != "none":
        raise UsageError(f"{_KIND} is rendered in mode Standard with autoscaler none; set these")
    if serving.nodes > 1:
        raise UsageError("serving.nodes: over several nodes use serving.kind: InferenceService")
    if profile.resources.gpu.count == 0 and profile.engine.image is None:
        raise UsageError(
            "resources.gpu.count: 0, but llm-d's image needs a GPU; set engine.image, "
            f"e.g. vllm/vllm-openai-cpu:v{profile.engine.version}"
        )
    if "://" in str(speculation(profile.engine.args).get("model", "")):
        raise UsageError(
            "engine.args.speculative_config.model: an LLMInferenceService fetches one URI only; "
            "give a Hugging Face id, which the engine downloads"
        )
    if profile.model.adapters and version < (0, 20):
        raise UsageError(f"model.adapters: {_KIND} serves them from KServe 0.20 on; remove them")
    if serving.prefill and not profile.engine.args.get("kv_transfer_config"):
        raise UsageError(
            "serving.prefill: decode needs engine.args.kv_transfer_config to receive the cache; "
            "give {kv_connector: NixlConnector, kv_role: kv_both}"
        )


def _lora(profile: Profile, args: dict[str, Any]) -> Object:
    """The model's adapters; the arguments that they stand for are taken out of `args`."""
    if not profile.model.adapters:
        return {}
    adapters = [{"name": each.name, "uri": each.uri} for each in profile.model.adapters]
    found: Object = {"adapters": adapters}
    for name in ("enable_lora", "lora_modules"):
        del args[name]
    for name, key in _LORA.items():
        if (value := args.pop(name, None)) is not None:
            found[key] = value
    return found


def _environment(profile: Profile, args: dict[str, Any]) -> list[Object]:
    """Arguments go through a variable that the preset's shell puts into its command line."""
    said = arguments(profile, args)
    found: dict[str, Object] = dict(hf_token(profile))
    transfer = args.get("kv_transfer_config")
    if isinstance(transfer, dict) and "Nixl" in str(transfer.get("kv_connector")):
        source = {"fieldRef": {"fieldPath": "status.podIP"}}
        name = "VLLM_NIXL_SIDE_CHANNEL_HOST"
        found[name] = {"name": name, "valueFrom": source}
    for name, value in profile.engine.env.items():
        found[name] = {"name": name, "value": literal(value)}
    name = "VLLM_ADDITIONAL_ARGS"
    if name in profile.engine.env:
        raise UsageError(f"engine.env.{name}: the toolkit sets it; use engine.args")
    if said.flags:
        found[name] = {"name": name, "value": literal(shlex.join(said.flags))}
    return list(found.values())


def _prefill(profile: Profile, args: dict[str, Any]) -> Object:
    given = profile.serving.prefill
    if given is None:
        return {}
    own = {name.lstrip("-").replace("-", "_"): value for name, value in given.args.items()}
    return {
        "replicas": given.replicas,
        "environment": _environment(profile, {**args, **own}),
        "resources": resources(profile, given.gpu),
        "placement": placement(profile, given.gpu),
    }


def _probes(profile: Profile) -> Object:
    """Laid over the preset's, which give up after ten minutes; before 0.18 after two."""
    seconds = math.ceil(profile.serving.startup_timeout_s)
    if kserve_version(profile) < (0, 18):
        return {"livenessProbe": {"initialDelaySeconds": seconds}}
    attempts = math.ceil(seconds / 10)
    return {"startupProbe": {"periodSeconds": 10, "failureThreshold": attempts}}


def _files(profile: Profile) -> Object:
    """The preset's /dev/shm in the profile's size, and the chat template."""
    memory = {"medium": "Memory", "sizeLimit": profile.resources.shm}
    mounts, volumes = (
        [{"name": "dshm", "mountPath": "/dev/shm"}],
        [{"name": "dshm", "emptyDir": memory}],
    )
    if profile.model.chat_template is not None:
        source = {"name": f"{service_of(profile)}-chat-template"}
        place = CHAT_TEMPLATE_PATH.rpartition("/")[0]
        mounts.append({"name": "chat-template", "mountPath": place})
        volumes.append({"name": "chat-template", "configMap": source})
    return {"mounts": mounts, "volumes": volumes}
