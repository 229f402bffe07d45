"""The objects of one profile on KServe: its runtime, its service and what they need."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runners.engines.arguments import Arguments, backend_of
from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render import multinode
from runners.render.backends import (
    MODEL_FORMAT,
    arguments,
    environment,
    image,
    literal,
    owned_arguments,
)
from runners.render.gpus import placement, resources
from runners.render.llm_inference_service import llm_inference_service
from runners.render.metadata import (
    MANAGED_BY,
    PROFILE_LABEL,
    RUN_LABEL,
    TTL_ANNOTATION,
    annotations_of,
    metadata,
    service_of,
)
from runners.render.scaling import scaling
from runners.render.storage import CHAT_TEMPLATE_PATH, Storage, storage
from runners.render.templates import Object, fill

__all__ = ["MANAGED_BY", "PROFILE_LABEL", "RUN_LABEL", "TTL_ANNOTATION", "render"]

PROBE_PERIOD_S = 10
_LONGEST_TEMPLATE = 1_000_000  # bytes that a ConfigMap takes, less a little
_VISIBILITY = "networking.kserve.io/visibility"


def render(
    profile: Profile, run_id: str | None = None, folder: Path | None = None
) -> dict[str, Object]:
    """File name → Kubernetes object, in the order in which they are applied.

    The objects depend on nothing but the arguments and the chat template's file. `run_id`
    becomes a label, by which they are found again; without it (a dry run) the label is
    absent. folder: where relative paths of the profile start, by default the current one.
    Empty where the profile measures a service that is there already. Raises UsageError for
    what cannot be rendered.
    """
    if profile.serving.existing is not None:
        return {}
    _refuse_contradictions(profile)
    objects = {**_service_account(profile, run_id), **_chat_template(profile, run_id, folder)}
    if profile.serving.kind == "LLMInferenceService":
        objects |= llm_inference_service(profile, run_id)
    else:
        objects |= _inference_service(profile, run_id)
    for manifest in objects.values():
        if manifest["kind"] != "ConfigMap":
            _refuse_go_templates(manifest)
    return objects


def _refuse_contradictions(profile: Profile) -> None:
    """What no KServe can do, whatever the backend."""
    backend, serving = backend_of(profile), profile.serving
    engine = {"vllm-huggingface": "vllm", "triton": "tensorrt-llm"}.get(backend, backend)
    if engine != profile.engine.name:
        raise UsageError(
            f"engine.backend: {backend} serves with {engine}, but engine.name is "
            f"{profile.engine.name}; give --backend {backend}, or name them alike"
        )
    if serving.prefill is not None and serving.kind != "LLMInferenceService":
        raise UsageError(
            "serving.prefill: an InferenceService does not disaggregate; "
            "set serving.kind: LLMInferenceService"
        )
    if backend == "vllm-huggingface":
        for key in ("adapters", "chat_template"):
            if getattr(profile.model, key):
                raise UsageError(
                    f"model.{key}: KServe's huggingfaceserver does not take it; use backend vllm"
                )


def _inference_service(profile: Profile, run_id: str | None) -> dict[str, Object]:
    values = _values(profile, run_id)
    objects = {}
    if backend_of(profile) == "tensorrt-llm":
        said: Arguments = values["said"]
        text = yaml.safe_dump(said.config, sort_keys=True, allow_unicode=False)
        objects["configmap-engine.yaml"] = _config_map(
            profile, "engine", {"config.yaml": text}, run_id
        )
    objects["servingruntime.yaml"] = fill(f"{backend_of(profile)}/servingruntime.yaml.j2", values)
    objects["inferenceservice.yaml"] = fill("shared/inferenceservice.yaml.j2", values)
    return objects


def _values(profile: Profile, run_id: str | None) -> dict[str, Any]:
    """What the templates of an InferenceService and its runtime name."""
    name, serving = service_of(profile), profile.serving
    scaled, stored = scaling(profile), storage(profile)
    several = multinode.several_nodes(profile, stored)
    said = arguments(profile, stored.args)
    owned = [literal(each) for each in owned_arguments(profile, stored.model_path)]
    flags = [literal(each) for each in said.flags]
    knative = serving.mode == "Knative"
    deadline = math.ceil(serving.startup_timeout_s)
    return {
        "said": said,
        "runtime_metadata": metadata(profile, f"{name}-runtime", run_id),
        "service_metadata": _service_metadata(profile, scaled.annotations, run_id),
        "image": image(profile),
        "model_format": MODEL_FORMAT[backend_of(profile)],
        "arguments": [*owned, *several.head, *flags],
        "environment": environment(profile, said, several.environment),
        "startup_attempts": startup_attempts(profile),
        "mounts": [{"name": "dshm", "mountPath": "/dev/shm"}, *_mounts(profile, stored)],
        "volumes": [shared_memory(profile), *_volumes(profile, stored)],
        "scaling": scaled.predictor,
        "request_timeout_s": serving.longest_request_s(),
        "knative": knative,
        "progress_deadline": f"{deadline}s",
        "placement": _placement(profile),
        "resources": resources(profile),
        "storage_uri": stored.storage_uri,
        "storage_uris": stored.storage_uris,
        "nodes": serving.nodes,
        "gpus_per_node": profile.resources.gpu.count,
        "mp_annotation": several.by_kserve,
        "worker_command": several.command,
        "worker_arguments": [*several.worker, *flags],
    }


def startup_attempts(profile: Profile) -> int:
    """Tries of the start-up probe, so that it lasts as long as start-up may take."""
    return math.ceil(profile.serving.startup_timeout_s / PROBE_PERIOD_S)


def _service_metadata(profile: Profile, ours: dict[str, str], run_id: str | None) -> Object:
    """A service without a route from outside, unless requests are to come through one."""
    common = metadata(profile, service_of(profile), run_id)
    if profile.serving.connect != "gateway":
        common["labels"] = {**common["labels"], _VISIBILITY: "cluster-local"}
    return {**common, "annotations": annotations_of(profile, {**ours, **common["annotations"]})}


def _placement(profile: Profile) -> Object:
    keys = placement(profile)
    if _own_account(profile):
        keys["serviceAccountName"] = service_of(profile)
    return keys


def _own_account(profile: Profile) -> bool:
    """Whether KServe needs an account of ours to download with the profile's token."""
    serving = profile.serving
    needed = serving.hf_token is not None and serving.service_account is None
    return needed and serving.kind == "InferenceService" and _downloads_from_hub(profile)


def _downloads_from_hub(profile: Profile) -> bool:
    stored = storage(profile)
    uris = [stored.storage_uri or "", *(each["uri"] for each in stored.storage_uris)]
    return any(uri.startswith("hf://") for uri in uris)


def _service_account(profile: Profile, run_id: str | None) -> dict[str, Object]:
    secret = profile.serving.hf_token
    if secret is None or not _own_account(profile):
        return {}
    if secret.key != "HF_TOKEN":
        raise UsageError(
            f"serving.hf_token.key: KServe downloads with the key HF_TOKEN only, not {secret.key}; "
            f"rename it in the secret {secret.name}"
        )
    values = {
        "metadata": metadata(profile, service_of(profile), run_id),
        "secret": secret.name,
        "image_pull_secrets": [{"name": each} for each in profile.serving.image_pull_secrets],
    }
    return {"serviceaccount.yaml": fill("shared/serviceaccount.yaml.j2", values)}


def _chat_template(profile: Profile, run_id: str | None, folder: Path | None) -> dict[str, Object]:
    """The chat template in a ConfigMap: in an argument, KServe would execute its `{{`."""
    if profile.model.chat_template is None:
        return {}
    path = (folder or Path.cwd()) / Path(profile.model.chat_template).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(
            f"model.chat_template: {path} cannot be read: {reason}; a relative path starts at the "
            "profile's folder"
        ) from None
    if len(text.encode()) > _LONGEST_TEMPLATE:
        raise UsageError(f"model.chat_template: {path} is above 1 MB; a ConfigMap holds no more")
    data = {CHAT_TEMPLATE_PATH.rpartition("/")[2]: text}
    return {"configmap-chat-template.yaml": _config_map(profile, "chat-template", data, run_id)}


def _config_map(profile: Profile, suffix: str, data: dict[str, str], run_id: str | None) -> Object:
    name = f"{service_of(profile)}-{suffix}"
    values = {"metadata": metadata(profile, name, run_id), "data": data}
    return fill("shared/configmap.yaml.j2", values)


def shared_memory(profile: Profile) -> Object:
    """/dev/shm, in memory."""
    size = {"medium": "Memory", "sizeLimit": profile.resources.shm}
    return {"name": "dshm", "emptyDir": size}


def _volumes(profile: Profile, stored: Storage) -> list[Object]:
    name = service_of(profile)
    maps = [(each, {"name": f"{name}-{each}"}) for each, _ in _maps(profile)]
    return [*({"name": each, "configMap": source} for each, source in maps), *stored.volumes]


def _mounts(profile: Profile, stored: Storage) -> list[Object]:
    mounts = [
        {"name": name, "mountPath": place, "readOnly": True} for name, place in _maps(profile)
    ]
    return [*mounts, *stored.mounts]


def _maps(profile: Profile) -> list[tuple[str, str]]:
    """(volume and suffix of the ConfigMap, where it is mounted)."""
    found = []
    if profile.model.chat_template is not None:
        found.append(("chat-template", CHAT_TEMPLATE_PATH.rpartition("/")[0]))
    if backend_of(profile) == "tensorrt-llm":
        found.append(("engine", "/etc/trtllm"))
    return found


def _refuse_go_templates(manifest: Mapping[str, Any]) -> None:
    """KServe executes the container as a Go template, which would run a `{{` of ours."""
    for key, text in texts(manifest, manifest["kind"]):
        if "{{" in text:
            raise UsageError(
                f"{key}: KServe would execute the '{{{{' in {text[:60]!r}; give a chat template as "
                "model.chat_template, and build other such text into the image"
            )


def texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text inside `value` with its dotted path, names of keys included."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{key}.{name}", str(name)
            yield from texts(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from texts(inner, f"{key}[{position}]")
