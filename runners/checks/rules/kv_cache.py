"""The KV cache's format, and the attention backend that has to read it."""

from collections.abc import Iterator, Mapping

from runners.checks import formats
from runners.checks.attention import KNOWN, Attention, fitting
from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

STORED, BACKEND = "engine.args.kv_cache_dtype", "engine.args.attention_backend"
NESTED = "engine.args.attention_config.backend"
_READ = ">=0.24,<0.34"  # the versions whose backends were read
# Sparse latent attention has backends of its own, chosen by the model.
_LATENT_MODELS = frozenset({"deepseek_v2", "deepseek_v3", "kimi_k2"})


def stored(case: Case) -> str:
    """The argument kv_cache_dtype; auto where it is unset."""
    value = case.args.get("kv_cache_dtype", "auto")
    return value if isinstance(value, str) else "auto"


def is_fp8(name: str) -> bool:
    """Whether a cache format holds 8-bit floats."""
    return name.startswith("fp8")


def forced(case: Case) -> tuple[str, str] | None:
    """(key, name in capitals) of the attention backend that the profile forces."""
    for key, value in ((BACKEND, case.args.get("attention_backend")), (NESTED, _nested(case))):
        if isinstance(value, str) and value.lower() != "auto":
            return key, value.upper()
    return None


def _nested(case: Case) -> object:
    given = case.args.get("attention_config")
    if given is None:
        return None
    return (case.section("attention_config") or {}).get("backend")


def asked(case: Case) -> Attention | None:
    """What attention has to do; None without a known NVIDIA GPU."""
    gpu, model = case.gpu, case.model
    if gpu is None or gpu.capability is None:
        return None
    return Attention(
        gpu.capability,
        stored(case),
        formats.dtype(case),
        model.head_dim if model and not model.latent_attention else None,
        bool(model and model.latent_attention),
        bool(model and model.model_type == "gpt_oss"),
    )


@rule(
    "kv-cache.backend-forced",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, CudaPlatform.get_attn_backend_cls: 'Selected backend … is not valid for this "
    "configuration. Reason: …'; TRITON_ATTN refuses an fp8 cache when it is built.",
    versions=_READ,
)
def backend_forced(case: Case) -> Iterator[Hit]:
    """A forced attention backend must suit the GPU, the cache's format, heads and dtype."""
    choice = forced(case)
    wanted = asked(case) if choice else None
    if choice is None or wanted is None or choice[1] not in KNOWN:
        return
    if wanted.latent and case.model and case.model.model_type not in _LATENT_MODELS:
        return
    if not wanted.latent and case.model is None and KNOWN[choice[1]].latent:
        return
    against = KNOWN[choice[1]].against(wanted)
    if against is None:
        return
    others = list(fitting(wanted))
    fix = f"Remove the line: {' or '.join(others)} can." if others else f"Remove {STORED}."
    assert case.gpu is not None
    why = f"{choice[1]} cannot serve this on {case.gpu.name} ({case.gpu.sm}): {against}."
    note = "vLLM chooses the backend"
    yield Hit(choice[0], why, fix, (Change(choice[0], REMOVE, note),) if others else ())


@rule(
    "kv-cache.no-backend",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, CudaPlatform.get_attn_backend_cls: 'No valid attention backend found'; on "
    "compute capability 7.5 TRITON_ATTN is taken and then refuses an fp8 cache.",
    versions=_READ,
)
def no_backend(case: Case) -> Iterator[Hit]:
    """Some attention backend must be able to read the cache's format on this GPU."""
    name = stored(case)
    if name == "auto" or name not in case.release.kv_cache_dtypes or forced(case):
        return
    wanted = asked(case)
    if wanted is None or (case.model is None and "mla" in name):
        return
    if wanted.latent and (case.model is None or case.model.model_type not in _LATENT_MODELS):
        return
    if wanted.latent and name.startswith(("nvfp4", "fp8_ds_mla")):
        return  # a rule of its own, or a backend that the model brings
    if name.startswith("octave") or any(fitting(wanted)):
        return
    assert case.gpu is not None
    sizes = f" with heads of {wanted.head_dim}" if wanted.head_dim else ""
    why = f"no attention backend reads a {name} cache on {case.gpu.name} ({case.gpu.sm}){sizes}."
    yield Hit(
        STORED, why, "Remove the line.", (Change(STORED, REMOVE, "the cache is kept in dtype"),)
    )


@rule(
    "kv-cache.fp8-old-gpu",
    severity="warning",
    fails="after loading",
    basis="documents",
    evidence="Before 0.24 nothing checks it at start-up; Triton's kernels compile 8-bit floats "
    "from compute capability 8.9, FlashInfer's from 7.5. Not run on hardware.",
    versions="<0.24",
)
def fp8_old_gpu(case: Case) -> Iterator[Hit]:
    """An fp8 KV cache on a GPU below 8.9 depends on the backend that is chosen."""
    gpu, name = case.gpu, stored(case)
    if gpu is None or gpu.capability is None or not is_fp8(name) or gpu.capability >= 89:
        return
    why = f"a {gpu.name} ({gpu.sm}) has no 8-bit floats; only FlashInfer may read such a cache."
    yield Hit(STORED, why, "Remove the line, or take a GPU with 8.9 or higher.")


@rule(
    "kv-cache.nvfp4-latent",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32 on a DeepSeek-V3 shape with nvfp4: 'nvfp4 KV cache is not supported with "
    "MLA'.",
    versions=">=0.21",
)
def nvfp4_latent(case: Case) -> Iterator[Hit]:
    """An nvfp4 KV cache does not suit multi-head latent attention."""
    name, model = stored(case), case.model
    if model is None or not model.latent_attention:
        return
    if name.startswith("nvfp4") and not name.endswith("_ds_mla"):
        why = f"this model keeps one latent vector for all heads, for which {name} has no layout."
        change = Change(STORED, "fp8", "the smallest cache that latent attention has")
        yield Hit(STORED, why, "kv_cache_dtype: fp8", (change,))


@rule(
    "kv-cache.e5m2-fp8-checkpoint",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, attention layers with loaded scales: 'fp8_e5m2 kv-cache is not supported "
    "with fp8 checkpoints'.",
)
def e5m2_fp8_checkpoint(case: Case) -> Iterator[Hit]:
    """fp8_e5m2 is refused for a checkpoint in FP8, which brings scales for e4m3."""
    if stored(case) != "fp8_e5m2":
        return
    if formats.checkpoint_method(case.model) in ("fp8", "modelopt", "fbgemm_fp8"):
        why = "an FP8 checkpoint carries the scales of an fp8_e4m3 cache."
        yield Hit(STORED, why, "kv_cache_dtype: fp8", (Change(STORED, "fp8"),))


@rule(
    "kv-cache.backend-twice",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="vLLM 0.32: 'attention_backend and attention_config.backend are mutually exclusive'.",
    versions=">=0.13",
)
def backend_twice(case: Case) -> Iterator[Hit]:
    """The attention backend is given once: attention_backend or attention_config.backend."""
    if case.args.get("attention_backend") is None or _nested(case) is None:
        return
    why = "attention_config.backend says it too."
    given = case.args.get("attention_config")
    changes = (Change(BACKEND, REMOVE),) if isinstance(given, Mapping) else ()
    same = str(_nested(case)).lower() == str(case.args["attention_backend"]).lower()
    yield Hit(BACKEND, why, "Remove one of the two.", changes if same else ())


@rule(
    "kv-cache.backend-environment",
    severity="warning",
    fails="silently",
    basis="history",
    evidence="VLLM_ATTENTION_BACKEND is read up to vLLM 0.14.1 and nowhere in 0.16.0 and later.",
    versions=">=0.16",
)
def backend_environment(case: Case) -> Iterator[Hit]:
    """VLLM_ATTENTION_BACKEND sets nothing any more; the argument attention_backend does."""
    named = case.environment.get("VLLM_ATTENTION_BACKEND")
    if named is None:
        return
    name = named.strip().upper().removesuffix("_VLLM_V1")
    key = "engine.env.VLLM_ATTENTION_BACKEND"
    why = f"vLLM {case.version} does not read this variable, and chooses a backend by itself."
    if name in case.release.attention_backends:
        changes = [Change(key, REMOVE)]
        if "attention_backend" not in case.args:
            changes.append(Change(BACKEND, name))
        yield Hit(key, why, f"engine.args: {{attention_backend: {name}}}", tuple(changes))
    else:
        yield Hit(key, why, "Remove the line.", (Change(key, REMOVE),))


@rule(
    "kv-cache.flash-attention-2",
    severity="info",
    fails="silently",
    basis="source",
    evidence="vLLM, EngineArgs.create_engine_config: with a turboquant or ultraquant cache it "
    "overrides flash_attn_version with 2.",
    versions=">=0.20",
)
def flash_attention_2(case: Case) -> Iterator[Hit]:
    """TurboQuant and UltraQuant caches bring back FlashAttention 2, also where 3 is at hand."""
    name = stored(case)
    if not name.startswith(("turboquant_", "ultraquant_")):
        return
    if case.gpu is not None and (case.gpu.capability or 0) >= 90:
        why = f"with {name} the whole model runs FlashAttention 2, the baseline without it newer."
        fix = "Compare with a baseline that sets attention_config: {flash_attn_version: 2}."
        yield Hit(STORED, why, fix)


@rule(
    "kv-cache.cpu",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, cpu_attn.py: 'FP8 KV cache requires head_size divisible by 32 on CPU', "
    "'requires x86 with AVX-512 or AMX'; CPU_ATTN knows auto and the fp8 formats only.",
    versions=">=0.21",
)
def cpu(case: Case) -> Iterator[Hit]:
    """On a CPU the KV cache is in the model's dtype, or in fp8 with AVX-512 and even heads."""
    name = stored(case)
    if not case.on_cpu or name == "auto":
        return
    head = case.model.head_dim if case.model and not case.model.latent_attention else None
    change = (Change(STORED, REMOVE, "the cache is kept in dtype"),)
    if name not in ("fp8", "fp8_e4m3", "fp8_e5m2"):
        if name in case.release.kv_cache_dtypes and name not in ("float16", "bfloat16"):
            yield Hit(STORED, f"a CPU has no {name} cache.", "Remove the line.", change)
    elif head is not None and head % 32:
        why = (
            f"an fp8 cache on a CPU takes heads of a multiple of 32, and this model's have {head}."
        )
        yield Hit(STORED, why, "Remove the line.", change)
    else:
        why = "an fp8 cache needs a CPU with AVX-512 or AMX."
        fix = "Choose such nodes, or remove the line."
        yield Hit(STORED, why, fix, severity="warning")


@rule(
    "kv-cache.bfloat16-old-gpu",
    severity="error",
    fails="after loading",
    basis="source",
    evidence="vLLM, triton_attn.py, the one backend left below 8.0: 'bfloat16 KV cache is not "
    "supported'.",
    versions=_READ,
)
def bfloat16_old_gpu(case: Case) -> Iterator[Hit]:
    """A bfloat16 KV cache needs compute capability 8.0."""
    gpu = case.gpu
    if stored(case) == "bfloat16" and gpu and gpu.capability and gpu.capability < 80:
        why = f"a {gpu.name} ({gpu.sm}) has no bfloat16."
        yield Hit(STORED, why, "kv_cache_dtype: auto", (Change(STORED, "auto"),))
