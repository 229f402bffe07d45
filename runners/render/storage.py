"""Where model, draft and adapters come from, and where the engine finds them in its pod."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runners.errors import UsageError
from runners.profiles.model import Model, Profile
from runners.render.metadata import kserve_version
from runners.render.names import service_name
from runners.render.templates import Object

SCHEMES = ("hf://", "s3://", "gs://", "pvc://", "oci://", "https://")
MODEL_PATH = "/mnt/models"
VOLUME_PATH = "/mnt/volumes"
CHAT_TEMPLATE_PATH = "/mnt/chat-template/chat_template.jinja"


@dataclass(frozen=True)
class Storage:
    """model_path: of the model inside the container. args: engine.args with paths inside the
    container in place of URIs. storage_uri: what KServe fetches to /mnt/models; storage_uris:
    several things, each to its own path. volumes, mounts: claims that the pod mounts itself.
    """

    model_path: str
    args: dict[str, Any]
    storage_uri: str | None = None
    storage_uris: list[dict[str, str]] = field(default_factory=list)
    volumes: list[Object] = field(default_factory=list)
    mounts: list[Object] = field(default_factory=list)


def storage(profile: Profile) -> Storage:
    """Sort what the profile names into what KServe fetches and what the pod mounts.

    A single thing to fetch goes through storageUri, as every KServe knows it; more need
    storageUris of 0.16. Claims besides the model's are mounted by the pod itself, because
    storageUris ignores the path inside a claim. Raises UsageError.
    """
    wanted = {"model": model_uri(profile.model), **_further(profile)}
    fetched = {name: uri for name, (uri, _) in wanted.items() if not uri.startswith("pvc://")}
    if set(fetched) <= {"model"}:
        paths, claims = {"model": MODEL_PATH}, set(wanted) - {"model"}
        found = Storage(MODEL_PATH, {}, storage_uri=wanted["model"][0])
    else:
        _can_fetch_several(profile, {key: uri for uri, key in wanted.values()})
        paths, claims = {n: f"{MODEL_PATH}/{n}" for n in fetched}, set(wanted) - set(fetched)
        several = [{"uri": uri, "mountPath": paths[name]} for name, uri in fetched.items()]
        found = Storage("", {}, storage_uris=several)
    for name, (uri, key) in wanted.items():
        if name in claims:
            volume, mount = _claim(name, uri, key)
            found.volumes.append(volume)
            found.mounts.append(mount)
            paths[name] = mount["mountPath"]
    return Storage(
        paths["model"],
        arguments(profile, paths),
        found.storage_uri,
        found.storage_uris,
        found.volumes,
        found.mounts,
    )


def model_uri(model: Model) -> tuple[str, str]:
    """(the model's URI with its revision, the key it comes from)."""
    uri = _known(model.uri, "model.uri")
    if model.revision is None:
        return uri, "model.uri"
    if not uri.startswith("hf://"):
        raise UsageError("model.revision: only hf:// has revisions; remove it")
    if ":" in uri.removeprefix("hf://"):
        raise UsageError(f"model.revision: {model.uri} names a revision too; keep one of them")
    return f"{uri}:{model.revision}", "model.uri"


def _known(uri: str, key: str) -> str:
    if not uri.startswith(SCHEMES) or uri in SCHEMES:
        raise UsageError(f"{key}: KServe cannot fetch {uri}; use one of {' '.join(SCHEMES)}")
    return uri


def _further(profile: Profile) -> dict[str, tuple[str, str]]:
    """Name → (URI, key) of a draft model and of adapters that have to be fetched or mounted."""
    found: dict[str, tuple[str, str]] = {}
    draft = speculation(profile.engine.args).get("model")
    if isinstance(draft, str) and "://" in draft:
        key = "engine.args.speculative_config.model"
        found["draft"] = (_known(draft, key), key)
    for adapter in profile.model.adapters:
        if "://" in adapter.uri:
            name, key = adapter_place(adapter.name), f"model.adapters.{adapter.name}"
            if name in found:
                raise UsageError(f"{key}: its folder {name} is taken; name the adapter otherwise")
            found[name] = (_known(adapter.uri, key), key)
    return found


def adapter_place(name: str) -> str:
    """The folder of an adapter, and the name of its volume."""
    return f"adapter-{service_name(name)}"


def speculation(args: Mapping[str, Any]) -> dict[str, Any]:
    """speculative_config, which may be written as JSON text; empty without one."""
    value = args.get("speculative_config", args.get("speculative-config"))
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise UsageError("engine.args.speculative_config: it is no JSON; mend it") from None
    return dict(value) if isinstance(value, Mapping) else {}


def arguments(profile: Profile, paths: Mapping[str, str]) -> dict[str, Any]:
    """engine.args with the draft, the adapters and the chat template at their places."""
    args = {name.lstrip("-").replace("-", "_"): v for name, v in profile.engine.args.items()}
    if "draft" in paths:
        args["speculative_config"] = {**speculation(args), "model": paths["draft"]}
    elif isinstance(args.get("speculative_config"), str):
        args["speculative_config"] = speculation(args)
    if profile.model.adapters:
        _refuse_both(args, "lora_modules", "model.adapters")
        args["enable_lora"] = True
        args["lora_modules"] = [
            {"name": each.name, "path": paths.get(adapter_place(each.name), each.uri)}
            for each in profile.model.adapters
        ]
    if profile.model.chat_template is not None:
        _refuse_both(args, "chat_template", "model.chat_template")
        args["chat_template"] = CHAT_TEMPLATE_PATH
    return args


def _refuse_both(args: Mapping[str, Any], name: str, key: str) -> None:
    if args.get(name) is not None:
        raise UsageError(f"engine.args.{name}: {key} says the same; keep one of them")


def _can_fetch_several(profile: Profile, uris: Mapping[str, str]) -> None:
    if kserve_version(profile) < (0, 16):
        key = next(key for key in uris if key != "model.uri")
        raise UsageError(
            f"{key}: KServe {profile.serving.kserve_version} fetches one URI only (0.16 fetches "
            "several); give a Hugging Face id, which the engine downloads, or pvc://"
        )
    for key, uri in uris.items():
        if uri.startswith("oci://"):
            raise UsageError(
                f"{key}: KServe cannot fetch oci:// together with others; use another scheme"
            )


def _claim(name: str, uri: str, key: str) -> tuple[Object, Object]:
    """Volume and mount of pvc://CLAIM/PATH, read only."""
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    if not claim or ".." in path.split("/"):
        raise UsageError(f"{key}: {uri} is no claim; write pvc://CLAIM/PATH")
    source = {"claimName": claim, "readOnly": True}
    mount = {"name": name, "mountPath": f"{VOLUME_PATH}/{name}", "readOnly": True}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    return {"name": name, "persistentVolumeClaim": source}, mount
