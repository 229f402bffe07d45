"""Attention backends of vLLM on NVIDIA GPUs: which cache formats, GPUs and heads each takes.

Read in vLLM 0.24 to 0.33, v1/attention/backends; a backend that is not listed here is not
judged. The engine chooses the first that fits, in the order below.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_PLAIN = frozenset({"auto", "float16", "bfloat16"})
_FP8 = frozenset({"fp8", "fp8_e4m3"})
_PER_HEAD = frozenset({"int4_per_token_head", "int8_per_token_head", "fp8_per_token_head"})
_HALF = frozenset({"float16", "bfloat16"})


@dataclass(frozen=True)
class Attention:
    """What a model and its profile ask of an attention backend.

    capability: 90 for 9.0. stored: kv_cache_dtype. dtype, head_dim: None where not known.
    latent: multi-head latent attention. sinks: attention sinks, as gpt-oss has them.
    """

    capability: int
    stored: str
    dtype: str | None = None
    head_dim: int | None = None
    latent: bool = False
    sinks: bool = False


@dataclass(frozen=True)
class Backend:
    """One backend. lowest, highest: compute capability. heads: sizes that it takes.

    further: what else speaks against it, in words; None where nothing does.
    """

    name: str
    stored: frozenset[str]
    lowest: int = 0
    highest: int = 999
    latent: bool = False
    heads: Callable[[int], bool] = lambda size: True
    dtypes: frozenset[str] | None = None
    further: Callable[[Attention], str | None] = lambda asked: None

    def against(self, asked: Attention) -> str | None:
        """Why this backend cannot do what is asked, in words; None where it can."""
        if asked.latent != self.latent:
            only = "multi-head latent attention" if self.latent else "ordinary attention"
            return f"it computes {only} only"
        if not self.lowest <= asked.capability <= self.highest:
            least, most = self.lowest / 10, self.highest / 10
            span = f"from {least:g}" if self.highest == 999 else f"{least:g} to {most:g}"
            return f"it runs on compute capability {span}"
        if asked.stored not in self.stored:
            return f"it has no {asked.stored} cache"
        if asked.head_dim is not None and not self.heads(asked.head_dim):
            return f"it does not take heads of {asked.head_dim}"
        if self.dtypes is not None and asked.dtype not in (None, *self.dtypes):
            return f"it does not compute in {asked.dtype}"
        return self.further(asked)


def _flash(asked: Attention) -> str | None:
    if asked.sinks and asked.capability < 90:
        return "it has attention sinks from compute capability 9.0 only"
    if asked.stored in _FP8 and asked.capability // 10 not in (9, 10):
        return "it has an fp8 cache on compute capability 9.x and 10.x only"
    return None


def _flashinfer(asked: Attention) -> str | None:
    if asked.sinks and asked.capability // 10 not in (9, 10, 12):
        return "it has attention sinks on compute capability 9.0, 10.x and 12.x only"
    if asked.stored == "nvfp4_4over6" and asked.capability // 10 != 10:
        return "it has an nvfp4_4over6 cache on compute capability 10.x only"
    if asked.stored == "nvfp4" and asked.head_dim == 64 and asked.capability // 10 != 10:
        return "it misreads an nvfp4 cache with heads of 64"
    return None


def _triton(asked: Attention) -> str | None:
    if asked.stored.startswith("fp8") and asked.capability < 89:
        return "it has an fp8 cache from compute capability 8.9 only"
    if asked.stored == "bfloat16" and asked.capability < 80:
        return "it has a bfloat16 cache from compute capability 8.0 only"
    return None


_TURBO = frozenset(f"turboquant_{kind}" for kind in ("k8v4", "4bit_nc", "k3v4_nc", "3bit_nc"))
BACKENDS = (
    Backend(
        "FLASH_ATTN",
        _PLAIN | _FP8,
        lowest=80,
        heads=lambda size: size % 8 == 0 and size <= 512,
        dtypes=_HALF,
        further=_flash,
    ),
    Backend(
        "FLASHINFER",
        _PLAIN | _FP8 | {"fp8_e5m2", "nvfp4", "nvfp4_4over6"},
        lowest=80,
        highest=121,
        heads=lambda size: size in (64, 128, 256, 512),
        dtypes=_HALF,
        further=_flashinfer,
    ),
    Backend(
        "TRITON_ATTN",
        _PLAIN | _FP8 | _PER_HEAD | {"fp8_e5m2"},
        heads=lambda size: size >= 32,
        further=_triton,
    ),
    Backend("FLEX_ATTENTION", _PLAIN),
    Backend("TURBOQUANT", _TURBO, dtypes=_HALF),
    Backend("ULTRAQUANT", frozenset({"ultraquant_4bit"}), dtypes=_HALF),
    Backend("FLASH_ATTN_MLA", _PLAIN, lowest=90, highest=99, latent=True),
    Backend("FLASHMLA", _PLAIN | _FP8, lowest=90, highest=109, latent=True),
    Backend("FLASHINFER_MLA", _PLAIN | _FP8, lowest=100, highest=109, latent=True),
    Backend("CUTLASS_MLA", _PLAIN | _FP8, lowest=100, highest=109, latent=True),
    Backend("TRITON_MLA", _PLAIN | _FP8, latent=True, further=_triton),
)
KNOWN = {backend.name: backend for backend in BACKENDS}


def fitting(asked: Attention) -> Iterator[str]:
    """The backends that can do what is asked."""
    return (backend.name for backend in BACKENDS if backend.against(asked) is None)
