"""What a profile asks for that an engine does not have, so that a comparison can say so first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runners.checks.amounts import whole
from runners.checks.tables import Support, feature_support
from runners.engines.arguments import Arguments, backend_of, engine_arguments
from runners.profiles.engine_section import ENGINE_VERSIONS, Engine, EngineName
from runners.profiles.model import Profile

ENGINE_NAMES: tuple[EngineName, ...] = ("vllm", "tgi", "tensorrt-llm")
_REQUESTS = {
    "structured_outputs": "structured_output",
    "response_format": "structured_output",
    "guided_json": "structured_output",
    "guided_regex": "structured_output",
    "guided_choice": "structured_output",
    "guided_grammar": "structured_output",
    "tools": "tools",
}
# Words for quantization in any engine's arguments, by feature.
_QUANTIZATION = {
    "awq": ("awq", "awq_marlin", "auto_awq"),
    "gptq": ("gptq", "gptq_marlin", "auto_gptq", "marlin"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes-nf4", "bitsandbytes-fp4"),
    "gguf": ("gguf",),
    "fp8": ("fp8", "fp8_per_tensor", "fp8_per_block", "modelopt"),
    "nvfp4": ("modelopt_fp4", "nvfp4"),
}
_FEATURE_OF = {word: name for name, words in _QUANTIZATION.items() for word in words}
_DECODING = {
    "ngram": "ngram",
    "eagle": "eagle",
    "eagle3": "eagle3",
    "mtp": "mtp",
    "medusa": "medusa",
    "lookahead": "lookahead",
    "drafttarget": "draft_model",
    "draft_target": "draft_model",
    "sa": "suffix",
    "deepseek_mtp": "mtp",
    "ngram_gpu": "ngram",
}


# Arguments that the section `model` stands for.
_OF_THE_MODEL = {
    "enable_lora": "model.adapters",
    "lora_modules": "model.adapters",
    "chat_template": "model.chat_template",
}


@dataclass(frozen=True)
class Wanted:
    """A feature that a profile asks for, and the dotted key that asks."""

    feature: str
    key: str


@dataclass(frozen=True)
class Unsupported:
    """A feature or argument that an engine does not have.

    feature: as in the table of features; an argument's name where the table has no row.
    key: dotted path in the profile. why: half a sentence. certain: False where it is known
    from general documentation only.
    """

    feature: str
    key: str
    why: str
    fix: str
    certain: bool = True


def wanted(profile: Profile) -> list[Wanted]:
    """Every feature of the table that the profile asks for, in the order of its sections."""
    args = {name.lstrip("-").replace("-", "_"): v for name, v in profile.engine.args.items()}
    found = [
        *_models(profile),
        *_speculation(args),
        *_parallelism(args),
        *_formats(args),
        *_serving(args),
        *_requests(profile),
    ]
    if profile.resources.gpu.count == 0:
        found.append(Wanted("cpu", "resources.gpu.count"))
    if profile.serving.prefill is not None:
        found.append(Wanted("disaggregation", "serving.prefill"))
    # The first key that asks for a feature stands for all of them.
    return list({each.feature: each for each in reversed(found)}.values())[::-1]


def unsupported(profile: Profile, engine: EngineName) -> list[Unsupported]:
    """What `profile` asks for and `engine` does not have; empty when it can run there.

    For another engine than the profile's, its own arguments (engine.specific) are taken, in
    the version named there or the newest that is known. Nothing is read but the tables.
    """
    given = for_engine(profile, engine)
    version, table = given.engine.version.partition("+")[0], feature_support(engine)
    found = [
        _lacking(each, engine, version, table.get(each.feature))
        for each in wanted(given)
        if each.feature not in table or not table[each.feature].at(version)
    ]
    unread = [
        Unsupported(
            each.feature,
            each.key,
            f"{engine} {version} may not have {_words(each.feature)}"
            f" ({support.note or 'not read in its source'})",
            "Try it on one replica first.",
            certain=False,
        )
        for each in wanted(given)
        if (support := table.get(each.feature)) and support.unread and support.at(version)
    ]
    keys = {each.key for each in found}
    return [*found, *unread, *(each for each in _arguments(given) if each.key not in keys)]


def for_engine(profile: Profile, engine: EngineName) -> Profile:
    """The profile as it is for `engine`: its own arguments laid over the neutral ones."""
    own = profile.engine
    if own.name == engine:
        return profile
    left = own.specific.get(own.name)
    theirs = {} if left is None else left.args
    neutral = {k: v for k, v in own.args.items() if k not in theirs or theirs[k] != v}
    specific = own.specific.get(engine)
    added = {} if specific is None else specific.args
    version = (specific.version if specific else None) or ENGINE_VERSIONS[engine]
    changed = Engine(name=engine, version=version, args={**neutral, **added}, specific=own.specific)
    return profile.model_copy(update={"engine": changed})


def _lacking(each: Wanted, engine: str, version: str, support: Support | None) -> Unsupported:
    note = f" ({support.note})" if support and support.note else ""
    if support and support.has:
        bounds = f"since {support.since}" if support.since else ""
        bounds += f"{' ' if bounds else ''}until {support.until}" if support.until else ""
        why = f"{engine} {version} has no {_words(each.feature)}: it has it {bounds}{note}"
    else:
        why = f"{engine} has no {_words(each.feature)}{note}"
    return Unsupported(each.feature, each.key, why, "Remove it, or leave this engine out.")


def _arguments(profile: Profile) -> Iterator[Unsupported]:
    """Arguments that the engine has no word for; vLLM's own are the subject of other rules."""
    if backend_of(profile).startswith("vllm"):
        return
    said = translated(profile)
    for each in said.refused if said else ():
        name = each.key.rpartition(".")[2]
        written = name in profile.engine.args or name not in _OF_THE_MODEL
        key = each.key if written else _OF_THE_MODEL[name]
        yield Unsupported(name, key, each.why, f"{each.fix[:1].upper()}{each.fix[1:]}.")


def translated(profile: Profile) -> Arguments | None:
    """engine_arguments; None for values of a wrong type, of which other rules speak."""
    model, args = profile.model, dict(profile.engine.args)
    if model.adapters:
        args["enable_lora"] = True
        args["lora_modules"] = [{"name": a.name, "path": a.uri} for a in model.adapters]
    if model.chat_template is not None:
        args["chat_template"] = model.chat_template
    try:
        return engine_arguments(profile, args)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):
        return None


def _models(profile: Profile) -> Iterator[Wanted]:
    if profile.model.adapters:
        yield Wanted("lora", "model.adapters")


def _speculation(args: Mapping[str, Any]) -> Iterator[Wanted]:
    config = args.get("speculative_config")
    key = "engine.args.speculative_config"
    if not isinstance(config, Mapping):
        if args.get("speculate"):
            yield Wanted("speculation.ngram", "engine.args.speculate")
        return
    method = config.get("decoding_type") or config.get("method") or "draft_model"
    name = str(method).strip("[]").lower()
    yield Wanted(f"speculation.{_DECODING.get(name, name)}", key)
    if _above_one(args, "pipeline_parallel_size"):
        yield Wanted("speculation_with_pipeline_parallel", "engine.args.pipeline_parallel_size")


def _above_one(args: Mapping[str, Any], name: str) -> bool:
    size = whole(args.get(name))
    return size is not None and size > 1


def _parallelism(args: Mapping[str, Any]) -> Iterator[Wanted]:
    for name, feature in (
        ("pipeline_parallel_size", "pipeline_parallel"),
        ("data_parallel_size", "data_parallel"),
        ("moe_expert_parallel_size", "expert_parallel"),
    ):
        if _above_one(args, name):
            yield Wanted(feature, f"engine.args.{name}")
    if args.get("enable_expert_parallel") is True:
        yield Wanted("expert_parallel", "engine.args.enable_expert_parallel")
    if args.get("enable_attention_dp") is True:
        yield Wanted("data_parallel", "engine.args.enable_attention_dp")


def _formats(args: Mapping[str, Any]) -> Iterator[Wanted]:
    for name in ("quantization", "quantize"):
        word = args.get(name)
        if isinstance(word, str) and word in _FEATURE_OF:
            yield Wanted(f"quantization.{_FEATURE_OF[word]}", f"engine.args.{name}")
    cache = args.get("kv_cache_dtype")
    if isinstance(cache, str) and cache.startswith("fp8"):
        yield Wanted("kv_cache.fp8", "engine.args.kv_cache_dtype")


def _serving(args: Mapping[str, Any]) -> Iterator[Wanted]:
    for name, feature in (
        ("enable_prefix_caching", "prefix_caching"),
        ("enable_chunked_prefill", "chunked_prefill"),
        ("structured_outputs_config", "structured_output"),
        ("guided_decoding_backend", "structured_output"),
        ("enable_auto_tool_choice", "tools"),
        ("tool_call_parser", "tools"),
        ("enable_lora", "lora"),
        ("lora_modules", "lora"),
        ("lora_adapters", "lora"),
        ("kv_transfer_config", "disaggregation"),
        ("cache_transceiver_config", "disaggregation"),
    ):
        if args.get(name):
            yield Wanted(feature, f"engine.args.{name}")


def _requests(profile: Profile) -> Iterator[Wanted]:
    body = profile.workload.extra_body
    for name, feature in _REQUESTS.items():
        if body.get(name):
            yield Wanted(feature, f"workload.extra_body.{name}")


_IN_WORDS = {
    "speculation_with_pipeline_parallel": "speculation over pipeline stages",
    "lora": "LoRA adapters",
    "cpu": "CPU backend",
    "tools": "tool calls",
}


def _words(feature: str) -> str:
    """A feature's name for a sentence."""
    if feature in _IN_WORDS:
        return _IN_WORDS[feature]
    group, _, name = feature.partition(".")
    if group == "speculation":
        return f"speculation by {name}"
    if group == "quantization":
        return f"{name} quantization"
    if group == "kv_cache":
        return f"{name} KV cache"
    return feature.replace("_", " ")
