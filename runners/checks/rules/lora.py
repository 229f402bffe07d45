"""LoRA adapters: which are served, of which rank, and what they exclude."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import count, is_off, is_on

RANK = "engine.args.max_lora_rank"
# Up to 0.9 the ranks were checked by hand and are not among the choices of the flag.
_EARLY_RANKS = (8, 16, 32, 64, 128, 256)


def serves_adapters(case: Case) -> bool:
    """Whether the engine is started with LoRA."""
    return is_on(case, "enable_lora") or bool(case.profile.model.adapters)


def ranks(case: Case) -> tuple[int, ...]:
    """The values of max_lora_rank that the version takes, in order."""
    option = case.release.flags.get("max_lora_rank")
    if option is not None and option.choices:
        return tuple(sorted(each for each in option.choices if isinstance(each, int)))
    return (*_EARLY_RANKS, 320, 512) if case.at_least(0, 8) else _EARLY_RANKS


@rule(
    "lora.rank",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="LoRAConfig.max_lora_rank is a literal type of a few ranks; any other is a "
    "validation error.",
)
def rank(case: Case) -> Iterator[Hit]:
    """max_lora_rank is one of a few sizes, to be rounded up from the adapters' rank."""
    given = count(case, "max_lora_rank")
    if given is None or given in (allowed := ranks(case)):
        return
    larger = next((each for each in allowed if each >= given), allowed[-1])
    yield Hit(
        RANK,
        f"{given} is not among the ranks that vLLM {case.version} has kernels for "
        f"({', '.join(map(str, allowed))}).",
        f"max_lora_rank: {larger}",
        (Change(RANK, larger, "the next larger one" if larger >= given else "the largest"),),
    )


@rule(
    "lora.fewer-in-memory",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="LoRAConfig: max_cpu_loras must be >= max_loras (values of 0 or less are taken as "
    "unset).",
)
def fewer_in_memory(case: Case) -> Iterator[Hit]:
    """max_cpu_loras, the adapters kept in memory, cannot be fewer than max_loras in a batch."""
    kept, batch = count(case, "max_cpu_loras"), count(case, "max_loras")
    if kept is None or batch is None or not is_on(case, "enable_lora"):
        return
    if 0 < kept < batch:
        yield Hit(
            "engine.args.max_cpu_loras",
            f"{kept} adapters in memory cannot fill a batch of {batch}.",
            f"max_cpu_loras: {batch}",
            (Change("engine.args.max_cpu_loras", batch, "as many as max_loras"),),
        )


@rule(
    "lora.none-in-batch",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="LoRAConfig.max_loras is at least 1.",
)
def none_in_batch(case: Case) -> Iterator[Hit]:
    """max_loras is at least 1."""
    batch = count(case, "max_loras")
    if batch is not None and batch < 1 and is_on(case, "enable_lora"):
        yield Hit(
            "engine.args.max_loras",
            f"a batch takes {batch} adapters; at least 1 is needed.",
            "max_loras: 1",
            (Change("engine.args.max_loras", 1, "the default"),),
        )


@rule(
    "lora.modality-adapters",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="EngineArgs.create_engine_config: default modality-specific LoRA(s) were provided "
    "for a non multimodal model.",
)
def modality_adapters(case: Case) -> Iterator[Hit]:
    """default_mm_loras is for multimodal models only."""
    if not case.args.get("default_mm_loras") or case.model is None:
        return
    if str(case.model.architecture).endswith("ForCausalLM"):
        yield Hit(
            "engine.args.default_mm_loras",
            "the model takes text only, so there is no modality to have an adapter.",
            "Remove default_mm_loras.",
            (Change("engine.args.default_mm_loras", REMOVE),),
        )


# What an adapter's adapter_config.json may not ask for, and the words of the engine.
_UNSUPPORTED = {
    "use_dora": "DoRA",
    "lora_bias": "bias terms",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "replicated layers",
    "use_qalora": "QALoRA",
}


@lru_cache(maxsize=64)
def adapter_config(uri: str, folder: Path) -> dict[str, Any]:
    """The adapter_config.json of an adapter in a directory; {} where it cannot be read."""
    if "://" in uri:
        return {}
    try:
        file = Path(folder, uri).expanduser() / "adapter_config.json"
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@rule(
    "lora.unsupported-adapter",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="PEFTHelper._validate_features: vLLM does not yet support DoRA, LoRA bias, aLoRA, "
    "layer_replication, QALoRA.",
)
def unsupported_adapter(case: Case) -> Iterator[Hit]:
    """Adapters with DoRA, bias terms and other extensions of LoRA cannot be loaded."""
    for adapter in case.profile.model.adapters:
        config = adapter_config(adapter.uri, case.folder)
        found = [words for key, words in _UNSUPPORTED.items() if config.get(key)]
        if found:
            yield Hit(
                "model.adapters",
                f"the adapter {adapter.name} uses {', '.join(found)}, which vLLM cannot load.",
                "Merge it into the model's weights, or train a plain LoRA adapter.",
            )


@rule(
    "lora.rank-too-small",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="PEFTHelper.validate_legal: LoRA rank is greater than max_lora_rank.",
)
def rank_too_small(case: Case) -> Iterator[Hit]:
    """An adapter's rank must not be above max_lora_rank, which is 16 unless it is set."""
    adapters = case.profile.model.adapters
    if not adapters:
        return
    most = count(case, "max_lora_rank") or 16
    for adapter in adapters:
        rank_ = adapter_config(adapter.uri, case.folder).get("r")
        if isinstance(rank_, int) and not isinstance(rank_, bool) and rank_ > most:
            allowed = ranks(case)
            larger = next((each for each in allowed if each >= rank_), allowed[-1])
            yield Hit(
                RANK,
                f"the adapter {adapter.name} has rank {rank_}, and max_lora_rank is {most}.",
                f"max_lora_rank: {larger}",
                (Change(RANK, larger, f"the rank of {adapter.name}, rounded up"),),
            )


@rule(
    "lora.off",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="Without enable_lora the server has no adapter, and a request that names one is "
    "answered with 404.",
)
def off(case: Case) -> Iterator[Hit]:
    """Adapters need LoRA to be on."""
    given = case.profile.model.adapters or case.args.get("lora_modules")
    if given and is_off(case, "enable_lora"):
        yield Hit(
            "engine.args.enable_lora",
            "the profile names adapters and turns LoRA off.",
            "enable_lora: true",
            (Change("engine.args.enable_lora", True, "as the adapters ask"),),
        )
    elif case.args.get("lora_modules") and not serves_adapters(case):
        yield Hit(
            "engine.args.lora_modules",
            "adapters are named, but LoRA is not on.",
            "enable_lora: true",
            (Change("engine.args.enable_lora", True, "as the adapters ask"),),
        )


@rule(
    "lora.nothing-to-serve",
    severity="warning",
    fails="in the results",
    basis="practice",
    evidence="enable_lora wraps every linear layer and reserves memory for max_loras adapters, "
    "whether or not one is ever asked for.",
)
def nothing_to_serve(case: Case) -> Iterator[Hit]:
    """LoRA without an adapter costs memory and speed and measures nothing."""
    if not is_on(case, "enable_lora"):
        return
    runtime = case.environment.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower()
    if case.profile.model.adapters or case.args.get("lora_modules") or runtime in ("1", "true"):
        return
    yield Hit(
        "engine.args.enable_lora",
        "LoRA is on, but the profile names no adapter.",
        "model.adapters: [{name: …, uri: …}], or remove enable_lora",
    )


@rule(
    "lora.given-twice",
    severity="error",
    fails="silently",
    basis="practice",
    evidence="The toolkit writes lora_modules from model.adapters; a list of its own in "
    "engine.args would replace or contradict it.",
)
def given_twice(case: Case) -> Iterator[Hit]:
    """Adapters are named in model.adapters or in engine.args.lora_modules, not in both."""
    if case.profile.model.adapters and case.args.get("lora_modules"):
        yield Hit(
            "engine.args.lora_modules",
            "model.adapters names adapters too, and only one list can hold.",
            "Move them all into model.adapters.",
        )


@rule(
    "lora.names",
    severity="error",
    fails="on each request",
    basis="practice",
    evidence="Requests choose an adapter by its name in `model`; two of one name cannot be told "
    "apart.",
    engines=("vllm", "tgi", "tensorrt-llm"),
)
def names(case: Case) -> Iterator[Hit]:
    """Each adapter has a name of its own, other than the model's."""
    adapters = case.profile.model.adapters
    if not adapters:
        return
    model = case.profile.model
    seen = {model.name or model.uri.rstrip("/").rpartition("/")[2]}
    for adapter in adapters:
        if adapter.name in seen:
            yield Hit(
                "model.adapters",
                f"the name {adapter.name} is used twice, by adapters or by the model itself.",
                "Give each adapter a name of its own.",
            )
        seen.add(adapter.name)


@rule(
    "lora.too-many",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="A batch holds at most max_loras adapters; the scheduler makes requests for others "
    "wait.",
)
def too_many(case: Case) -> Iterator[Hit]:
    """More adapters than max_loras cannot run in one batch, so requests wait for each other."""
    adapters = case.profile.model.adapters
    if len(adapters) < 2:
        return
    batch = count(case, "max_loras") or 1
    if len(adapters) > batch >= 1:
        yield Hit(
            "engine.args.max_loras",
            f"{len(adapters)} adapters take turns, as a batch holds {batch}.",
            f"max_loras: {len(adapters)}",
            (Change("engine.args.max_loras", len(adapters), "all of them at once"),),
        )


@rule(
    "lora.cpu",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="CpuPlatform.check_and_update_config sets the compilation mode to NONE where there "
    "is a LoRA config.",
)
def cpu(case: Case) -> Iterator[Hit]:
    """On the CPU, LoRA turns compilation off."""
    if case.on_cpu and serves_adapters(case):
        key = "engine.args.enable_lora" if "enable_lora" in case.args else "model.adapters"
        yield Hit(
            key,
            "on the CPU the engine runs without compilation as soon as LoRA is on; a baseline "
            "without LoRA is compiled.",
            "Compare with a baseline that has enforce_eager: true.",
        )
