"""What differs between the ways of serving on KServe: image, own arguments, environment."""

import re
from collections.abc import Mapping
from typing import Any

from runners.checks.tables import vllm_release
from runners.engines.arguments import Arguments, backend_of, engine_arguments
from runners.errors import UsageError
from runners.profiles.features import version_of
from runners.profiles.model import Profile
from runners.render.metadata import kserve_version
from runners.render.storage import storage
from runners.render.templates import Object

PORT = 8080
# The images may run under any user, whose home is not writable.
_HF_HOME = {"HF_HOME": "/tmp/hf"}
_VLLM = {
    **_HF_HOME,
    "VLLM_CACHE_ROOT": "/tmp/vllm",
    "VLLM_CONFIG_ROOT": "/tmp",
    "VLLM_NO_USAGE_STATS": "1",
}
ENVIRONMENT: dict[str, dict[str, str]] = {
    "vllm": _VLLM,
    # Without the prefix, the OpenAI routes are at /v1 as everywhere else.
    "vllm-huggingface": {**_VLLM, "KSERVE_OPENAI_ROUTE_PREFIX": ""},
    "tgi": {**_HF_HOME, "HUGGINGFACE_HUB_CACHE": "/tmp/hf/hub"},
    "tensorrt-llm": _HF_HOME,
    "triton": _HF_HOME,
}
MODEL_FORMAT = {
    "vllm": "vLLM",
    "vllm-huggingface": "huggingface",
    "tgi": "huggingface",
    "tensorrt-llm": "tensorrt-llm",
    "triton": "triton",
}
# huggingfaceserver of each KServe: the newest patch known, and the vLLM inside.
_HUGGINGFACE = {
    (0, 15): ("0.15.2", "0.8.5"),
    (0, 16): ("0.16.0", "0.9.2"),
    (0, 17): ("0.17.1", "0.15.1"),
    (0, 18): ("0.18.1", "0.19.0"),
    (0, 19): ("0.19.0", "0.20.0"),
    (0, 20): ("0.20.0", "0.24.0"),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_EXPANDED = re.compile(r"\$(?=[$(])")
_FROM_KEYS = {
    "engine.args.lora_modules": "model.adapters",
    "engine.args.enable_lora": "model.adapters",
    "engine.args.chat_template": "model.chat_template",
}


def image(profile: Profile) -> str:
    """engine.image, else the version's own. Raises UsageError where there is none to name."""
    engine, backend = profile.engine, backend_of(profile)
    version = engine.version.partition("+")[0]  # a build such as +cpu is not in a tag
    if engine.image:
        return engine.image
    on_cpu = profile.resources.gpu.count == 0
    if backend == "vllm" and on_cpu:
        if version_of(version) < (0, 19, 0):
            raise UsageError(
                f"engine.image: there is no known CPU image of vLLM {version}; name one"
            )
        return f"vllm/vllm-openai-cpu:v{version}"
    if backend == "vllm":
        return f"vllm/vllm-openai:v{version}"
    if backend == "vllm-huggingface":
        tag = _huggingface(profile)[0]
        return f"kserve/huggingfaceserver:v{tag}{'' if on_cpu else '-gpu'}"
    if on_cpu:
        raise UsageError(
            f"resources.gpu.count: 0, but the image of {backend} needs a GPU; set engine.image"
        )
    if backend == "tgi":
        return f"ghcr.io/huggingface/text-generation-inference:{version}"
    if backend == "tensorrt-llm":
        return f"nvcr.io/nvidia/tensorrt-llm/release:{version}"
    raise UsageError(
        "engine.image: Triton's images are named by month, not by TensorRT-LLM's version; give the "
        "one that fits your model repository, nvcr.io/nvidia/tritonserver:YY.MM-trtllm-python-py3"
    )


def served_version(profile: Profile) -> str:
    """The engine's version that really serves: KServe's runtime brings a vLLM of its own."""
    if backend_of(profile) == "vllm-huggingface" and profile.engine.image is None:
        return _huggingface(profile)[1]
    return profile.engine.version


def _huggingface(profile: Profile) -> tuple[str, str]:
    known = _HUGGINGFACE.get(kserve_version(profile))
    if known is None:
        raise UsageError(
            f"engine.image: the huggingfaceserver of KServe {profile.serving.kserve_version} is "
            "not known here; name its image"
        )
    return known


def served_name(profile: Profile) -> str:
    """What requests call the model.

    TGI answers to `tgi`, trtllm-serve to its model's folder and Triton to the part of the
    model repository that chains the others.
    """
    backend, model = backend_of(profile), profile.model
    if backend == "tgi":
        return "tgi"
    if backend == "tensorrt-llm":
        return storage(profile).model_path.rpartition("/")[2]
    if model.name is not None:
        return model.name
    if backend == "triton":
        return "ensemble"
    scheme, _, path = model.uri.rstrip("/").rpartition("://")
    last = path.rpartition("/")[2]
    return last.partition(":")[0] if scheme in ("hf", "oci") else last


def arguments(profile: Profile, args: Mapping[str, Any]) -> Arguments:
    """engine.args in the engine's words. Raises UsageError when some cannot be said."""
    if backend_of(profile) == "vllm-huggingface":
        _refuse_unknown(profile, args)
    said = engine_arguments(profile, args)
    if said.refused:
        first, others = said.refused[0], len(said.refused) - 1
        more = f" (and {others} more: {', '.join(each.key for each in said.refused[1:])})"
        written = first.key.rpartition(".")[2] in profile.engine.args
        key = first.key if written else _FROM_KEYS.get(first.key, first.key)
        raise UsageError(f"{key}: {first.why}; {first.fix}{more if others else ''}")
    return said


def _refuse_unknown(profile: Profile, args: Mapping[str, Any]) -> None:
    """huggingfaceserver drops flags that its vLLM does not know, without a word."""
    version = served_version(profile)
    release = vllm_release(version)
    for name, value in args.items():
        if value is not None and release.exact and name not in release.flags:
            raise UsageError(
                f"engine.args.{name}: KServe {profile.serving.kserve_version} serves with vLLM "
                f"{version}, which does not know it and would be started without; remove it"
            )


def owned_arguments(profile: Profile, model_path: str) -> list[str]:
    """Model, name and port, in the words of the backend; they come before the profile's."""
    backend, name = backend_of(profile), served_name(profile)
    if backend == "vllm":
        return ["--model", model_path, *_named("--served-model-name", name), "--port", str(PORT)]
    if backend == "vllm-huggingface":
        return [f"--model_name={name}", f"--model_dir={model_path}", "--backend=vllm"]
    if backend == "tgi":
        place = ["--hostname", "0.0.0.0", "--port", str(PORT)]
        return ["--model-id", model_path, *place]
    if backend == "tensorrt-llm":
        options = ["--extra_llm_api_options", "/etc/trtllm/config.yaml"]
        return [model_path, "--host", "0.0.0.0", "--port", str(PORT), *options]
    ports = [f"--http-port={PORT}", "--grpc-port=9000", "--metrics-port=8002"]
    return [f"--model-repository={model_path}", *ports]


def _named(flag: str, name: str) -> list[str]:
    return [f"{flag}={name}"] if name.startswith("-") else [flag, name]


def environment(profile: Profile, said: Arguments, further: Mapping[str, Object]) -> list[Object]:
    """Variables of the engine's container, each once: ours, then the profile's over them."""
    own = {**ENVIRONMENT[backend_of(profile)], **said.env}
    found: dict[str, Object] = {name: {"name": name, "value": own[name]} for name in own}
    found |= hf_token(profile) | {n: {"name": n, "valueFrom": v} for n, v in further.items()}
    for name, value in profile.engine.env.items():
        if not _VARIABLE.fullmatch(name):
            raise UsageError(f"engine.env: {name!r} is no variable's name; rename it")
        if name in further:
            raise UsageError(f"engine.env.{name}: the toolkit sets it; remove it")
        found[name] = {"name": name, "value": literal(value)}
    return list(found.values())


def hf_token(profile: Profile) -> dict[str, Object]:
    """The variable HF_TOKEN from the profile's secret; empty without one."""
    if (secret := profile.serving.hf_token) is None:
        return {}
    source = {"secretKeyRef": {"name": secret.name, "key": secret.key}}
    return {"HF_TOKEN": {"name": "HF_TOKEN", "valueFrom": source}}


def literal(text: str) -> str:
    """Text in which Kubernetes finds no variable to put in: `$(X)` is written `$$(X)`."""
    return _EXPANDED.sub("$$", text)
