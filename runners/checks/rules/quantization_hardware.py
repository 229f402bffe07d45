"""Quantization: what each method needs of the GPU, the dtype and the rest of the command."""

from collections.abc import Iterator

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule

KEY = "engine.args.quantization"


def sm(capability: int) -> str:
    """75 as people write it: 7.5."""
    return f"{capability // 10}.{capability % 10}"


def _where(case: Case) -> str:
    return KEY if formats.flag(case) else "model.uri"


@rule(
    "quantization.gpu-floor",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 with its device capability set: awq, fp8, modelopt_fp4 at 7.0 and mxfp4, "
    "experts_int8 at 7.5 end in 'is not supported for the current GPU. Minimum capability'; "
    "the floors of each release are kept in a table (get_min_capability).",
)
def gpu_floor(case: Case) -> Iterator[Hit]:
    """The GPU must have the compute capability that the quantization method needs."""
    name, gpu = formats.method(case), case.gpu
    if name is None or gpu is None or gpu.capability is None:
        return
    floor = case.release.min_capability.get(name)
    if floor is not None and formats.is_online(case, name):
        floor = 75  # of the online method (online/base.py), not of the checkpoint's
    if floor is None or gpu.capability >= floor:
        return
    why = (
        f"{name} needs compute capability {sm(floor)} or higher in vLLM {case.version};"
        f" a {gpu.name} has {sm(gpu.capability)}."
    )
    fix = f"Take a GPU with {sm(floor)} or higher, or a checkpoint in another format."
    yield Hit(_where(case), why, fix)


# Where tensor cores for the format begin; below, the weights are unpacked to 16 bits.
_NATIVE = {
    **dict.fromkeys(
        ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "modelopt", "fbgemm_fp8"), 89
    ),
    **dict.fromkeys(("modelopt_fp4", "nvfp4_per_token", "mxfp8", "modelopt_mxfp8"), 100),
}


@rule(
    "quantization.weight-only",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="FP8 matrix units begin at compute capability 8.9, FP4 and MXFP8 at 10.0; below, "
    "vLLM's Marlin kernels unpack the weights to 16 bits before they multiply.",
)
def weight_only(case: Case) -> Iterator[Hit]:
    """On a GPU without the format's arithmetic, quantized weights save memory, not compute."""
    name, gpu = formats.method(case), case.gpu
    native = _NATIVE.get(name) if name else None
    if name is None or native is None or gpu is None or gpu.capability is None:
        return
    floor = case.release.min_capability.get(name, 0)
    if floor <= gpu.capability < native:
        why = (
            f"a {gpu.name} ({sm(gpu.capability)}) has no arithmetic for {name}, which begins at"
            f" {sm(native)}: weights take less memory, prefill does not become faster."
        )
        yield Hit(_where(case), why, f"Compare on a GPU with {sm(native)} or higher, or say so.")


@rule(
    "quantization.dtype",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: awq, fp8, fp8_per_tensor with float32 and an mxfp4 checkpoint with "
    "float16 end in 'is not supported for quantization method'.",
)
def dtype(case: Case) -> Iterator[Hit]:
    """The dtype must be one that the quantization method computes in."""
    name = formats.method(case)
    if name is None or name not in case.release.activation_dtypes:
        return
    takes = set(case.release.activation_dtypes[name])
    if formats.is_online(case, name):
        takes = {"bfloat16", "float16"}
    if formats.flag(case) is None:
        # Without the flag the engine may choose the Marlin form of the method.
        takes |= case.release.activation_dtypes.get(f"{name}_marlin", frozenset())
    used = formats.dtype(case)
    if used not in ("float16", "bfloat16", "float32") or used in takes:
        return
    written = formats.written_dtype(case) is not None
    words = " or ".join(sorted(takes & {"float16", "bfloat16", "float32"}))
    whose = "the argument says" if written else "the checkpoint is in"
    gpu = case.gpu.capability if case.gpu else None
    weak = gpu is not None and gpu < 80
    best = "float16" if weak or "bfloat16" not in takes else "bfloat16"
    fix = f"dtype: {best}" if best in takes else "Take a checkpoint in another format."
    changes = (Change("engine.args.dtype", best),) if best in takes and written else ()
    key = "engine.args.dtype" if written else _where(case)
    yield Hit(key, f"{name} computes in {words} only; {whose} {used}.", fix, changes)


@rule(
    "quantization.deprecated",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on fbgemm_fp8 and fp_quant: 'is deprecated and will be removed … To "
    "bypass, set `--allow-deprecated-quantization`'.",
    versions=">=0.14",
)
def deprecated(case: Case) -> Iterator[Hit]:
    """A deprecated quantization method is refused unless it is allowed expressly."""
    name = formats.method(case)
    if name not in case.release.deprecated_quantization:
        return
    allowed = case.args.get("allow_deprecated_quantization") is True
    why = f"vLLM {case.version} is about to drop {name}"
    why += "." if allowed else " and refuses it unless told otherwise."
    change = Change("engine.args.allow_deprecated_quantization", True, f"{name} is kept as asked")
    yield Hit(
        _where(case),
        why,
        "Take an FP8 or compressed-tensors checkpoint"
        + ("." if allowed else ", or write allow_deprecated_quantization: true."),
        () if allowed else (change,),
        "warning" if allowed else None,
    )


@rule(
    "quantization.load-format",
    severity="error",
    fails="after loading",
    basis="executed",
    evidence="vLLM 0.32 takes load_format gguf and bitsandbytes in its configuration, but has no "
    "loader of these names; the packages vllm-gguf-plugin and vllm-bnb-plugin bring them.",
)
def load_format(case: Case) -> Iterator[Hit]:
    """The load format must be one whose loader the engine's version still has."""
    name = case.args.get("load_format")
    if name not in ("gguf", "bitsandbytes") or name in case.release.quantization:
        return
    package = "vllm-gguf-plugin" if name == "gguf" else "vllm-bnb-plugin"
    own = case.profile.engine.image is not None
    yield Hit(
        "engine.args.load_format",
        f"vLLM {case.version} has no loader for {name}; the package {package} brings it.",
        f"Remove the line and take another checkpoint, or an image with {package}.",
        severity="warning" if own or not formats.surely_lacks(case, name) else None,
    )


_ROCM = frozenset(
    {
        "awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "fp8", "deepseek_v4_fp8",
        "compressed-tensors", "fbgemm_fp8", "inc", "quark", "mxfp4", "mxfp8", "torchao", "online",
        "gpt_oss_mxfp4", "modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed",
        "fp8_per_tensor", "fp8_per_block", "fp8_per_channel",
    }
)  # fmt: skip


@rule(
    "quantization.rocm",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="vLLM 0.32, platforms/rocm.py, supported_quantization; verify_quantization raises "
    "for every other name.",
    versions=">=0.32,<0.33",
)
def rocm(case: Case) -> Iterator[Hit]:
    """AMD GPUs take only some of the quantization methods."""
    name, gpu = formats.method(case), case.gpu
    if name is None or gpu is None or gpu.capability is not None or name in _ROCM:
        return
    if name in case.release.quantization:
        why = f"vLLM does not run {name} on AMD GPUs such as {gpu.name}."
        yield Hit(_where(case), why, "Take an FP8, AWQ, GPTQ, Quark or MXFP4 checkpoint.")


_FOUR_BIT_FLOATS = frozenset(
    {"mxfp4", "gpt_oss_mxfp4", "modelopt_fp4", "fp_quant", "nvfp4_per_token"}
)


@rule(
    "quantization.cpu",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM 0.32: the CPU platform has no list of methods, so the kernels decide "
    "(model_executor/kernels/linear, cpu.py): none for 4-bit floats, FP8 with AMX only.",
    versions=">=0.20",
)
def cpu(case: Case) -> Iterator[Hit]:
    """A CPU has kernels for AWQ, GPTQ and INT8 weights, for FP8 with AMX, for FP4 none."""
    if not case.on_cpu:
        return
    name = formats.method(case)
    if name in _FOUR_BIT_FLOATS:
        why = f"vLLM has no CPU kernel for {name}."
        yield Hit(_where(case), why, "Take an AWQ, GPTQ or INT8 (W8A8) checkpoint.")
    elif name is not None and "fp8" in name:
        why = f"{name} runs on CPUs with AMX only (Sapphire Rapids or newer)."
        fix = "Choose such nodes, or take an AWQ, GPTQ or INT8 (W8A8) checkpoint."
        yield Hit(_where(case), why, fix, severity="warning")


@rule(
    "quantization.moe-only",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="vLLM 0.32: experts_int8, int8_per_channel_weight_only and nvfp4_per_token leave "
    "linear layers as they are; on a dense model the configuration passes and nothing shrinks.",
)
def moe_only(case: Case) -> Iterator[Hit]:
    """Methods that quantize experts only do nothing for a dense model."""
    name, model = formats.flag(case), case.model
    if name not in ("experts_int8", "int8_per_channel_weight_only", "nvfp4_per_token"):
        return
    if model is None or model.experts or not model.layers:
        return
    if name in case.release.quantization:
        why = f"{name} quantizes experts, and this model has none: its weights stay as they are."
        best = "fp8_per_tensor" if "fp8_per_tensor" in case.release.quantization else "fp8"
        yield Hit(KEY, why, f"quantization: {best}, or remove the line.")


@rule(
    "quantization.fp8-alias",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="vLLM 0.32 on fp8 with a plain checkpoint: '--quantization fp8 is deprecated for "
    "online quantization; use --quantization fp8_per_tensor instead'.",
    versions=">=0.31",
)
def fp8_alias(case: Case) -> Iterator[Hit]:
    """fp8 on plain weights is a deprecated word for fp8_per_tensor."""
    if formats.flag(case) == "fp8" and formats.is_unquantized(case):
        why = "on a checkpoint with plain weights, fp8 is read as fp8_per_tensor and deprecated."
        change = Change(KEY, "fp8_per_tensor")
        yield Hit(KEY, why, "quantization: fp8_per_tensor", (change,))


@rule(
    "quantization.online-config",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: online alone ends in a TypeError; with quantization_config it starts.",
    versions=">=0.20",
)
def online_config(case: Case) -> Iterator[Hit]:
    """The method `online` needs a quantization_config that says what to do."""
    if formats.flag(case) == "online" and "quantization_config" not in case.args:
        why = "online says that quantization_config decides, and there is none."
        choice = "8-bit floats with one scale for each tensor"
        change = Change(KEY, "fp8_per_tensor", choice)
        yield Hit(KEY, why, "quantization: fp8_per_tensor", (change,))


@rule(
    "quantization.config-ignored",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="vLLM 0.32 on a plain checkpoint with quantization_config alone: it starts, and its "
    "configuration says quantization=None.",
    versions=">=0.20",
)
def config_ignored(case: Case) -> Iterator[Hit]:
    """quantization_config alone quantizes nothing; it takes `quantization: online` as well."""
    if "quantization_config" not in case.args or "quantization" in case.args:
        return
    if formats.is_unquantized(case):
        why = "without the argument quantization, plain weights stay as they are."
        choice = "so that quantization_config counts"
        fix = "Add quantization: online."
        yield Hit("engine.args.quantization_config", why, fix, (Change(KEY, "online", choice),))
