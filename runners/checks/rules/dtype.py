"""dtype: what a GPU and a model can compute in."""

from collections.abc import Iterator

from runners.checks import formats
from runners.checks.case import Case
from runners.checks.rule import Change, Hit, rule

KEY = "engine.args.dtype"
MODERN = ">=0.9"  # before, the engine did not look at the GPU when it chose a dtype


def _too_old(case: Case) -> str | None:
    """The GPU in words, where it is one that cannot compute in bfloat16."""
    gpu = case.gpu
    if gpu is None or gpu.capability is None or gpu.capability >= 80:
        return None
    return f"{gpu.name} (compute capability {gpu.sm:g})"


def _half(case: Case) -> str:
    """The dtype to write where bfloat16 is out: float16, or what is left for the model."""
    model = case.model
    return "float32" if model and model.model_type in formats.NO_FLOAT16 else "float16"


@rule(
    "dtype.bfloat16-gpu",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, check_if_supports_dtype in the worker: 'Bfloat16 is only supported on GPUs "
    "with compute capability of at least 8.0'.",
)
def bfloat16_gpu(case: Case) -> Iterator[Hit]:
    """bfloat16 needs compute capability 8.0."""
    if formats.written_dtype(case) != "bfloat16":
        return
    gpu = _too_old(case)
    if gpu:
        half = _half(case)
        why = f"a {gpu} does not compute in bfloat16, which begins at 8.0."
        choice = "the 16-bit format of older GPUs" if half == "float16" else "all that is left"
        yield Hit(KEY, why, f"dtype: {half}", (Change(KEY, half, choice),))


@rule(
    "dtype.falls-back",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="vLLM, _resolve_auto_dtype: \"Your device … doesn't support torch.bfloat16. Falling "
    'back to torch.float16 for compatibility."',
    versions=MODERN,
)
def falls_back(case: Case) -> Iterator[Hit]:
    """Without a dtype, a bfloat16 checkpoint runs in float16 on a GPU below 8.0."""
    if not _auto_of_bfloat16(case):
        return
    gpu = _too_old(case)
    if gpu and _half(case) == "float16":
        why = f"the checkpoint is in bfloat16, which a {gpu} lacks: it runs in float16."
        choice = "what the engine would choose"
        yield Hit(_written(case), why, "dtype: float16", (Change(KEY, "float16", choice),))


@rule(
    "dtype.bfloat16-checkpoint",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM 0.8.5 and older take the checkpoint's dtype; the worker then says that "
    "bfloat16 needs compute capability 8.0.",
    versions="<0.9",
)
def bfloat16_checkpoint(case: Case) -> Iterator[Hit]:
    """Before 0.9, a bfloat16 checkpoint needed an explicit dtype on a GPU below 8.0."""
    if not _auto_of_bfloat16(case):
        return
    gpu = _too_old(case)
    if gpu:
        why = f"the checkpoint is in bfloat16, which a {gpu} lacks."
        choice = "the 16-bit format of older GPUs"
        yield Hit(_written(case), why, "dtype: float16", (Change(KEY, "float16", choice),))


def _auto_of_bfloat16(case: Case) -> bool:
    if "dtype" in case.args and case.args["dtype"] != "auto":
        return False
    return case.model is not None and case.model.dtype == "bfloat16"


def _written(case: Case) -> str:
    return KEY if "dtype" in case.args else "engine.args"


@rule(
    "dtype.float16-model",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on gemma2 with float16 or half: 'does not support float16. Reason: "
    "Numerical instability'.",
    versions=MODERN,
)
def float16_model(case: Case) -> Iterator[Hit]:
    """Gemma 2, Gemma 3 and GLM-4 are refused in float16."""
    if formats.written_dtype(case) != "float16" or case.model is None:
        return
    kind = case.model.model_type
    if kind in formats.NO_FLOAT16 or (kind == "plamo2" and not case.at_least(0, 25)):
        best = "float32" if _too_old(case) else "bfloat16"
        why = f"vLLM refuses {kind} models in float16, where their values overflow."
        choice = f"the smallest format that vLLM takes for {kind}"
        yield Hit(KEY, why, f"dtype: {best}", (Change(KEY, best, choice),))


@rule(
    "dtype.only-float32",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="vLLM, _resolve_auto_dtype: of float16 and float32, which a GPU below 8.0 has, only "
    "float32 is left for models that float16 does not suit.",
    versions=MODERN,
)
def only_float32(case: Case) -> Iterator[Hit]:
    """Gemma 2, Gemma 3 and GLM-4 run in float32 on a GPU below 8.0."""
    if not _auto_of_bfloat16(case) or case.model is None:
        return
    gpu = _too_old(case)
    if gpu and case.model.model_type in formats.NO_FLOAT16:
        why = (
            f"a {gpu} lacks bfloat16 and {case.model.model_type} may not run in float16:"
            " it runs in float32, 4 bytes for each weight."
        )
        yield Hit(_written(case), why, "Take a GPU with compute capability 8.0 or higher.")


@rule(
    "dtype.wider-checkpoint",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="vLLM, _resolve_auto_dtype: float32 checkpoints are cast to the platform's 16-bit "
    "format, unless dtype says float32.",
)
def wider_checkpoint(case: Case) -> Iterator[Hit]:
    """float32 doubles weights and KV cache and does not use the tensor cores' 16-bit formats."""
    if formats.written_dtype(case) == "float32" and case.gpu is not None:
        best = "float16" if _too_old(case) else "bfloat16"
        if _too_old(case) and case.model and case.model.model_type in formats.NO_FLOAT16:
            return
        why = "float32 takes twice the memory and bandwidth of 16-bit formats."
        yield Hit(KEY, why, f"dtype: {best}, unless float32 itself is what you measure.")
