"""Quantization: which methods a version knows, what each needs of checkpoint and GPU."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.finding import Severity
from runners.checks.rule import REMOVE, Change, Hit, rule

KEY = "engine.args.quantization"
DROP = f"Remove {KEY}; vLLM reads the method from the checkpoint."


@dataclass(frozen=True)
class Instead:
    """What stands for a name that is no method: the first of `names` that a version has.

    advice: what to do where none of them fits, or what differs.
    """

    names: tuple[str, ...] = ()
    advice: str = ""


_W8A8 = "INT8 (W8A8) comes from a compressed-tensors checkpoint, which needs no flag"
_FOUR_BIT = "4-bit weights come from an AWQ or GPTQ checkpoint, which needs no flag"
INSTEAD: Mapping[str, Instead] = {
    **dict.fromkeys(("int8", "w8a8", "int8_w8a8", "smoothquant", "tpu_int8"), Instead((), _W8A8)),
    **dict.fromkeys(("int4", "w4a16", "4bit", "squeezellm"), Instead((), _FOUR_BIT)),
    "gguf": Instead((), "GGUF needs the package vllm-gguf-plugin in the engine's image"),
    "bitsandbytes": Instead((), "bitsandbytes needs the package vllm-bnb-plugin in the image"),
    "bnb": Instead(("bitsandbytes",), "it needs the package vllm-bnb-plugin in the image"),
    "nvfp4": Instead(("modelopt_fp4",)),
    "petit_nvfp4": Instead(("modelopt_fp4",)),
    "fp4": Instead(("modelopt_fp4",)),
    "modelopt_nvfp4": Instead(("modelopt_fp4",)),
    "modelopt_fp8": Instead(("modelopt",)),
    "fp8_e4m3": Instead(("fp8",), "fp8_e4m3 is a value of kv_cache_dtype"),
    "fp8_e5m2": Instead(("fp8",), "fp8_e5m2 is a value of kv_cache_dtype"),
    "ptpc_fp8": Instead(("fp8_per_channel",), "it scales per channel and token, as ptpc_fp8 did"),
    "fp8_per_tensor": Instead(("fp8",)),
    "fp8_per_channel": Instead(("fp8",)),
    "compressed_tensors": Instead(("compressed-tensors",)),
    "auto-round": Instead(("inc",)),
    "auto_awq": Instead(("awq",)),
    "cpu_awq": Instead(("awq",)),
    "autoawq": Instead(("awq",)),
    "auto_gptq": Instead(("gptq",)),
    "cpu_gptq": Instead(("gptq",)),
    "autogptq": Instead(("gptq",)),
    "bitblas": Instead(("gptq",), "it read GPTQ checkpoints"),
    "gptq_bitblas": Instead(("gptq",), "it read GPTQ checkpoints"),
    "marlin": Instead((), "Marlin kernels are used for AWQ, GPTQ and FP8 without being asked for"),
    "gptq_marlin_24": Instead((), "take a GPTQ or compressed-tensors checkpoint"),
    "experts_int8": Instead(("int8_per_channel_weight_only",)),
    "mxfp8": Instead(("modelopt_mxfp8",)),
    "gpt_oss_mxfp4": Instead(("mxfp4",)),
}
PLUGINS = frozenset({"gguf", "bitsandbytes"})
OTHER_CHECKPOINT = "take an AWQ, GPTQ, FP8 or compressed-tensors checkpoint of the model instead"


def _replaced(case: Case, name: str, why: str) -> Hit:
    """The hit for a name that this version does not have, with what stands for it."""
    instead = INSTEAD.get(name, Instead())
    known = case.release.quantization
    new = next((each for each in instead.names if each in known), None)
    if new is None and not instead.advice:
        close = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        new = close[0] if close and name not in INSTEAD and not formats.known_in(name) else None
    certain = formats.surely_lacks(case, name) and not (
        name in PLUGINS and case.profile.engine.image is not None
    )
    milder: Severity | None = None if certain else "warning"
    # A method that reads a checkpoint of its own would only fail for the next reason.
    fits = new is not None and not (new in NEEDS_CHECKPOINT and formats.is_unquantized(case))
    if fits:
        note = f" ({instead.advice})" if instead.advice else ""
        return Hit(KEY, why, f"quantization: {new}{note}", (Change(KEY, new),), milder)
    advice = instead.advice or OTHER_CHECKPOINT
    if new is not None:
        advice = f"a checkpoint in that format is called {new} today, and needs no flag"
    choice = f"served as the checkpoint is, without {name}"
    fix = f"Remove the line; {advice}."
    return Hit(KEY, why, fix, (Change(KEY, REMOVE, choice),), milder)


@rule(
    "quantization.unknown-method",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on int8, w8a8, nvfp4, marlin, squeezellm: 'Unknown quantization method'; "
    "the names of each release are kept in a table.",
)
def unknown_method(case: Case) -> Iterator[Hit]:
    """The quantization method must be one that a release of vLLM has had."""
    name = formats.flag(case)
    if name and name not in case.release.quantization and not formats.known_in(name):
        yield _replaced(case, name, f"vLLM has no quantization method {name!r}.")


@rule(
    "quantization.gone",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on gguf, bitsandbytes, aqlm, hqq, marlin: 'Unknown quantization method'; "
    "the last release of each is from comparing 32 releases.",
)
def gone(case: Case) -> Iterator[Hit]:
    """The quantization method must still exist in the engine's version."""
    name = formats.flag(case)
    if not name or name in case.release.quantization:
        return
    older = [v for v in formats.known_in(name) if not _is_newer(case, v)]
    if older:
        why = f"vLLM {case.version} no longer has the method {name!r}; {older[-1]} still had it."
        yield _replaced(case, name, why)


@rule(
    "quantization.not-yet",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="The quantization names of 32 releases compared.",
)
def not_yet(case: Case) -> Iterator[Hit]:
    """The quantization method must exist already in the engine's version."""
    name = formats.flag(case)
    if not name or name in case.release.quantization:
        return
    having = formats.known_in(name)
    if having and _is_newer(case, having[0]):
        why = f"vLLM {case.version} does not have the method {name!r} yet; {having[0]} has it."
        yield _replaced(case, name, why)


def _is_newer(case: Case, version: str) -> bool:
    from runners.checks.tables import version_key

    return version_key(version) > version_key(case.release.version)


@rule(
    "quantization.checkpoint-gone",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on a checkpoint whose quant_method is bitsandbytes, without a flag: "
    "'Unknown quantization method'.",
)
def checkpoint_gone(case: Case) -> Iterator[Hit]:
    """The checkpoint's own quantization method must exist in the engine's version."""
    if formats.flag(case):
        return
    name, sure = formats.checkpoint_method(case.model), True
    named = formats.named_methods(case)
    if name is None and named and named[0] in PLUGINS:
        name, sure = named[0], False
    if name is None or name in case.release.quantization or not formats.known_in(name):
        return
    says = "holds" if sure else "seems, by its name, to hold"
    instead = INSTEAD.get(name, Instead())
    if any(each in case.release.quantization for each in instead.names):
        return  # the engine reads such a checkpoint under the newer name
    advice = instead.advice or OTHER_CHECKPOINT
    milder: Severity | None = None
    if not (sure and formats.surely_lacks(case, name)):
        milder = "warning"
    if name in PLUGINS and case.profile.engine.image is not None:
        milder = "warning"
    why = f"the checkpoint {says} {name} weights, which vLLM {case.version} cannot read by itself."
    yield Hit("model.uri", why, f"{advice[0].upper()}{advice[1:]}.", severity=milder)


# Methods that read a format from disk; the rest quantize plain weights while they load.
NEEDS_CHECKPOINT = frozenset(
    {
        "aqlm", "auto-round", "auto_awq", "auto_gptq", "awq", "awq_marlin", "compressed-tensors",
        "cpu_awq", "cpu_gptq", "fbgemm_fp8", "gptq", "gptq_bitblas", "gptq_marlin",
        "gptq_marlin_24", "hqq", "inc", "marlin", "modelopt", "modelopt_fp4", "modelopt_mixed",
        "modelopt_mxfp8", "moe_wna16", "nvfp4", "petit_nvfp4", "qqq", "quark", "torchao",
    }
)  # fmt: skip
_BESIDE = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")


@rule(
    "quantization.unquantized-checkpoint",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on a plain checkpoint: awq, gptq, modelopt*, inc, moe_wna16 end in "
    "'Cannot find the config file', compressed-tensors, torchao, quark in a TypeError.",
)
def unquantized_checkpoint(case: Case) -> Iterator[Hit]:
    """Methods that read quantized weights need a checkpoint that holds them."""
    name = formats.flag(case)
    if name not in NEEDS_CHECKPOINT or name not in case.release.quantization:
        return
    if not formats.may_be_unquantized(case) or _given_elsewhere(case):
        return
    sure = formats.is_unquantized(case)
    says = "holds plain weights" if sure else "does not say in its name that it is quantized"
    why = f"{name} reads weights that were quantized before, but the checkpoint {says}."
    named = f", or name {name.removeprefix('auto_').partition('_')[0].upper()} weights"
    choice = f"served as the checkpoint is, without {name}"
    fix = f"Remove {KEY}{named} as model.uri."
    changes = (Change(KEY, REMOVE, choice),) if sure else ()
    yield Hit(KEY, why, fix, changes, None if sure else "warning")


def _given_elsewhere(case: Case) -> bool:
    """Whether the format is told apart from config.json: by an argument or a file beside it."""
    overrides = case.section("hf_overrides")
    if overrides and any("quantization_config" in key for key in overrides):
        return True
    if case.model is None or not formats.was_read(case.model):
        return False
    return any(Path(case.model.name, name).is_file() for name in _BESIDE)


@rule(
    "quantization.checkpoint-mismatch",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32, every pair of awq, gptq, fp8, compressed-tensors checkpoints and flags: "
    "'does not match the quantization method specified in the `quantization` argument'.",
)
def checkpoint_mismatch(case: Case) -> Iterator[Hit]:
    """The quantization argument must agree with the method in the checkpoint's config.json."""
    name, held = formats.flag(case), formats.checkpoint_method(case.model)
    if not name or not held or name not in case.release.quantization:
        return
    # On a CPU the engine does not take one word for another where AWQ is concerned.
    exact = case.on_cpu and held == "awq" and case.at_least(0, 24)
    if name in (held, "humming") or (formats.same_format(name, held) and not exact):
        return
    if name == "moe_wna16" and held in ("awq", "gptq"):
        return
    if held not in case.release.quantization and name in INSTEAD.get(held, Instead()).names:
        return
    why = f"the checkpoint's config.json says {held}, the argument says {name}."
    yield Hit(KEY, why, DROP, (Change(KEY, REMOVE),))


@rule(
    "quantization.checkpoint-name",
    severity="warning",
    fails="at start-up",
    basis="executed",
    evidence="As quantization.checkpoint-mismatch, where only the repository's name is known.",
)
def checkpoint_name(case: Case) -> Iterator[Hit]:
    """The quantization argument should agree with what the checkpoint's name says of it."""
    name = formats.flag(case)
    if not name or name not in case.release.quantization:
        return
    if formats.checkpoint_method(case.model):
        return
    named = formats.named_methods(case)
    if not named or any(formats.same_format(name, each) for each in named):
        return
    if name == "humming" or (name == "moe_wna16" and named[0] in ("awq", "gptq")):
        return
    why = f"the name of the checkpoint says {' or '.join(named)}, the argument says {name}."
    yield Hit(KEY, why, DROP)
