"""What the rules look up: engine releases, GPUs, models and features, each read once on demand."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from runners.checks.data import FOLDER, read_yaml
from runners.checks.models import ModelFacts, known_model, read_model_config

__all__ = [
    "EngineOptions",
    "GpuFacts",
    "ModelFacts",
    "Option",
    "Support",
    "VllmRelease",
    "engine_options",
    "feature_support",
    "gpu",
    "gpu_names",
    "known_model",
    "mig_memory_gb",
    "read_model_config",
    "version_key",
    "vllm_release",
    "vllm_versions",
]

Version = tuple[int, ...]


@dataclass(frozen=True)
class Option:
    """One option of an engine's command line, or one key of an option that takes JSON.

    kind: bool, int, float, str, list, json, human_int (1k, 1M), human_int_or_auto (also -1
    and auto), json_or_str, bool_or_str, key_values (a=1,b=2) or any. of: kind of a list's
    items. choices: None where any value of the kind is taken. bounds: gt, ge, lt, le.
    default: None where it is None, empty, or worked out by the engine. negatable: `--no-…`
    exists. aliases: other long spellings.
    """

    name: str
    kind: str
    of: str | None = None
    choices: tuple[str | int, ...] | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)
    default: str | int | float | bool | None = None
    negatable: bool = False
    aliases: tuple[str, ...] = ()
    # The engine lower-cases the value and reads - as _ before it compares with choices.
    normalized: bool = False
    # Given several times, one value each, instead of once with several.
    repeated: bool = False
    # For other engines: the argument of vLLM that comes nearest.
    vllm: str | None = None


@dataclass(frozen=True)
class VllmRelease:
    """What one vLLM release takes, read from its source.

    version: of the table; asked: the version that was asked for. exact: they are the same
    release. newest: no newer table is kept, so that a name missing here may exist in the
    version asked for when it is newer. flags: by name with underscores, aliases included.
    checks_types: configuration objects given as JSON are held against kinds, choices and
    bounds (from 0.9.1), not only against their keys.
    sections: keys of options that take a JSON object with fixed keys. min_capability: by
    quantization method, 75 for SM 7.5; a method without a floor on NVIDIA GPUs is missing.
    """

    version: str
    asked: str
    exact: bool
    newest: bool
    checks_types: bool
    flags: Mapping[str, Option]
    sections: Mapping[str, Mapping[str, Option]]
    speculative_keys: Mapping[str, Option]
    speculative_methods: frozenset[str]
    quantization: frozenset[str]
    deprecated_quantization: frozenset[str]
    min_capability: Mapping[str, int]
    activation_dtypes: Mapping[str, frozenset[str]]
    kv_cache_dtypes: frozenset[str]
    tool_parsers: frozenset[str]
    reasoning_parsers: frozenset[str]
    kv_connectors: frozenset[str]
    structured_backends: frozenset[str]
    attention_backends: frozenset[str]

    def default(self, flag: str) -> str | int | float | bool | None:
        """The release's own value of a flag; None where it has none or works it out."""
        option = self.flags.get(flag)
        return None if option is None else option.default


def version_key(text: str) -> Version:
    """`v0.10.1.1` or `0.11.0rc1` as numbers of four places, for comparing."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    numbers = [int(part[:9]) for part in found[1].split(".")] if found else []
    return tuple((*numbers, 0, 0, 0, 0)[:4])


@cache
def vllm_versions() -> tuple[str, ...]:
    """The releases with a table, oldest first."""
    return tuple(sorted((file.stem for file in (FOLDER / "vllm").glob("*.json")), key=version_key))


@cache
def vllm_release(version: str) -> VllmRelease:
    """The table of a release, else of the nearest older one that is kept.

    Where only a later patch of the same minor version is kept, that one; below the oldest
    table, the oldest.
    """
    kept, asked = vllm_versions(), version_key(version)
    older = [name for name in kept if version_key(name) <= asked]
    chosen = older[-1] if older else kept[0]
    if version_key(chosen)[:2] != asked[:2]:
        patches = [name for name in kept if version_key(name)[:2] == asked[:2]]
        chosen = patches[0] if patches else chosen
    exact = version_key(chosen) == asked
    return _release(chosen, version, exact=exact, newest=chosen == kept[-1])


def _release(chosen: str, asked: str, *, exact: bool, newest: bool) -> VllmRelease:
    data = json.loads((FOLDER / "vllm" / f"{chosen}.json").read_bytes())
    quantization = data["quantization"]
    flags = _options(data["flags"])
    named = {alias: option for option in flags.values() for alias in option.aliases}
    return VllmRelease(
        version=chosen,
        asked=asked,
        exact=exact,
        newest=newest,
        checks_types=data["checks_types"],
        flags=MappingProxyType(flags | named),
        sections=MappingProxyType({k: _options(v) for k, v in data["sections"].items()}),
        speculative_keys=MappingProxyType(_options(data["speculative"]["keys"])),
        speculative_methods=frozenset(data["speculative"]["methods"]),
        quantization=frozenset(quantization["methods"]),
        deprecated_quantization=frozenset(quantization["deprecated"]),
        min_capability=MappingProxyType(quantization["min_capability"]),
        activation_dtypes=MappingProxyType(
            {k: frozenset(v) for k, v in quantization["activation_dtypes"].items()}
        ),
        kv_cache_dtypes=frozenset(data["kv_cache_dtypes"]),
        tool_parsers=frozenset(data["tool_parsers"]),
        reasoning_parsers=frozenset(data["reasoning_parsers"]),
        kv_connectors=frozenset(data["kv_connectors"]),
        structured_backends=frozenset(data["structured_backends"]),
        attention_backends=frozenset(data["attention_backends"]),
    )


def _options(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Option]:
    return {name: _option(name, given) for name, given in data.items()}


def _option(name: str, given: Mapping[str, Any]) -> Option:
    choices = given.get("choices")
    return Option(
        name,
        given["kind"],
        of=given.get("of"),
        choices=None if choices is None else tuple(choices),
        bounds=MappingProxyType(given.get("bounds", {})),
        default=given.get("default"),
        negatable=given.get("negatable", given["kind"] == "bool"),
        aliases=tuple(given.get("aliases", ())),
        normalized=given.get("normalized", False),
        repeated=given.get("repeated", False),
        vllm=given.get("vllm"),
    )


@dataclass(frozen=True)
class GpuFacts:
    """A GPU by the name that was asked for, which may stand for several forms of it.

    memory_gib: nominal size of the smallest form, largest_gib of the largest; reported_gib:
    what the driver shows as the total of the smallest form, None where it is not known here.
    sm: compute capability (8.9), None for a GPU that is not NVIDIA's. nvlink: None where it
    depends on the form. mig: how many slices of a profile fit; empty: the GPU cannot be
    sliced; None: it can, but its profiles are not known here. products: values of the node
    label nvidia.com/gpu.product.
    """

    name: str
    products: tuple[str, ...]
    memory_gib: float
    largest_gib: float
    reported_gib: float | None
    sm: float | None
    nvlink: bool | None
    bf16: bool
    fp8: bool
    fp4: bool
    mig: Mapping[str, int] | None

    @property
    def capability(self) -> int | None:
        """The compute capability as vLLM counts it: 89 for 8.9."""
        return None if self.sm is None else round(self.sm * 10)


@cache
def _gpu_forms() -> tuple[Mapping[str, Any], ...]:
    return tuple(read_yaml("gpus.yaml")["gpus"])


@cache
def gpu_names() -> tuple[str, ...]:
    """The short names that gpu() knows, each GPU's first spelling."""
    return tuple(dict.fromkeys(form["names"][0] for form in _gpu_forms()))


@cache
def gpu(name: str) -> GpuFacts | None:
    """A GPU by its short name (H100, A100-80) or its node label; None when it is not known."""
    wanted = _plain(name)
    # Time-slicing and the GPU operator append to the product's name.
    label = re.sub(r"-(shared|mig-\S+)$", "", wanted)
    forms = [
        form
        for form in _gpu_forms()
        if wanted in map(_plain, form["names"]) or label in map(_plain, form["products"])
    ]
    if not forms:
        return None
    sizes = [form["memory_gib"] for form in forms]
    links = {form["nvlink"] for form in forms}
    sm = forms[0]["sm"]
    return GpuFacts(
        name=name,
        products=tuple(product for form in forms for product in form["products"]),
        memory_gib=min(sizes),
        largest_gib=max(sizes),
        reported_gib=_reported(forms),
        sm=sm,
        nvlink=links.pop() if len(links) == 1 else None,
        bf16=sm is None or sm >= 8.0,
        fp8=forms[0].get("fp8", sm is not None and sm >= 8.9),
        fp4=sm is not None and sm >= 10.0,
        mig=_slices(forms),
    )


def _reported(forms: list[Mapping[str, Any]]) -> float | None:
    smallest = min(form["memory_gib"] for form in forms)
    told = [f["reported_mib"] for f in forms if f["memory_gib"] == smallest and "reported_mib" in f]
    return min(told) / 1024 if told else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip()).lower()


def _slices(forms: list[Mapping[str, Any]]) -> Mapping[str, int] | None:
    """Every profile of any form; None when one form's are not known."""
    tables = [form.get("mig", {}) for form in forms]
    known = [table for table in tables if table is not None]
    if not known:
        return None
    profiles = {profile for table in known for profile in table}
    return MappingProxyType({p: max(table.get(p, 0) for table in known) for p in profiles})


def mig_memory_gb(profile: str) -> int:
    """The memory that a MIG profile's name promises: 20 for 2g.20gb+me, in GB."""
    found = re.fullmatch(r"\d+g\.(\d+)gb(?:\+\w+(?:\.\w+)*)?", profile)
    if found is None:
        raise ValueError(f"{profile!r} is not a MIG profile")
    return int(found[1])


@dataclass(frozen=True)
class EngineOptions:
    """What TGI's launcher or trtllm-serve takes, names with underscores, aliases included.

    keys: of the YAML file that TensorRT-LLM reads; sections: those below a key of it. These
    lists are not complete: a rule may warn of a name that is not in them, not reject it.
    decoding_types: of its speculative_config, False for those of the older TensorRT-engine
    backend only; speculative_keys: over all of these types.
    """

    options: Mapping[str, Option]
    keys: Mapping[str, Option]
    sections: Mapping[str, Mapping[str, Option]]
    decoding_types: Mapping[str, bool]
    speculative_keys: frozenset[str]


@cache
def engine_options(engine: Literal["tgi", "tensorrt-llm"]) -> EngineOptions:
    """The options of an engine other than vLLM."""
    data = read_yaml(f"{engine}.yaml")
    return EngineOptions(
        options=_named(data["options"]),
        keys=_named(data.get("keys", {})),
        sections={name: _named(keys) for name, keys in data.get("sections", {}).items()},
        decoding_types=MappingProxyType(data.get("decoding_types", {})),
        speculative_keys=frozenset(data.get("speculative_keys", ())),
    )


def _named(data: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Option]:
    options = _options(data)
    aliases = {alias: option for option in options.values() for alias in option.aliases}
    return MappingProxyType(options | aliases)


@dataclass(frozen=True)
class Support:
    """Whether an engine has a feature: in versions `since` to `until`, where these are given.

    unread: from general documentation only, so that a rule should not reject for it.
    """

    has: bool
    since: str | None = None
    until: str | None = None
    note: str = ""
    unread: bool = False

    def at(self, version: str) -> bool:
        """Whether that version has it."""
        asked = version_key(version)
        early = self.since is not None and asked < version_key(self.since)
        late = self.until is not None and asked > version_key(self.until)
        return self.has and not early and not late


@cache
def feature_support(engine: str) -> Mapping[str, Support]:
    """Feature name (speculation.eagle3, lora) to what `engine` has of it.

    The names are the same for every engine; raises KeyError for an engine that is not known.
    """
    features = read_yaml("features.yaml")["features"]
    return MappingProxyType({name: Support(**row[engine]) for name, row in features.items()})
