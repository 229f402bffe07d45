"""Speculative decoding of a profile, put together as vLLM puts it together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runners.checks.rule import REMOVE, Change

if TYPE_CHECKING:
    from runners.checks.case import Case

PLACE = "engine.args.speculative_config"
# Flags of 0.22 and later that stand for one key each.
SHORT = {"spec_method": "method", "spec_model": "model", "spec_tokens": "num_speculative_tokens"}
NGRAM = ("ngram", "ngram_gpu")
EAGLE = ("eagle", "eagle3", "mtp", "dflash", "dspark")
# The older of the two model runners is the only one that has these.
_FIRST_RUNNER_ONLY = ("suffix", "medusa", "mlp_speculator", "custom_class")
_BY_NAME = (
    ("eagle-", "eagle", (0, 0, 0)),
    ("eagle3", "eagle3", (0, 8, 5)),
    ("dflash", "dflash", (0, 20, 0)),
    ("dspark", "dspark", (0, 25, 0)),
)
_DRAFT_TYPES = {"medusa": "medusa", "mlp_speculator": "mlp_speculator", "eagle": "eagle"}
_DECIMAL = re.compile(r"[-+]?[0-9]{1,15}(\.0*)?\Z")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+\Z")

_OF_A_MODEL = frozenset(
    [
        "model",
        "draft_tensor_parallel_size",
        "quantization",
        "max_model_len",
        "revision",
        "code_revision",
        "draft_load_config",
        "moe_backend",
        "attention_backend",
        "kv_cache_dtype",
        "parallel_drafting",
        "use_heterogeneous_vocab",
        "draft_sample_method",
        "disable_padded_drafter_batch",
    ]
)

Runner = Literal["first", "second", "either"]


@dataclass(frozen=True)
class Drafting:
    """What the engine is asked to do.

    config: the keys, the short flags merged in. method: what vLLM makes of `method` and
    `model`, empty where neither is text. stated: `method` as written. tokens: K, None where
    it is unset or no whole number. unmapped: speculative_config is JSON text, so an edit has
    to write all of it.
    """

    config: Mapping[str, Any]
    method: str
    stated: str | None
    model: str | None
    tokens: int | None
    unmapped: bool

    def place(self, key: str) -> str:
        """The dotted path of a key."""
        return f"{PLACE}.{key}"

    def put(self, choice: str = "", **values: Any) -> tuple[Change, ...]:
        """The edits that set keys, or take them out (REMOVE)."""
        if not self.unmapped:
            return tuple(Change(self.place(k), v, choice) for k, v in values.items())
        both = {**self.config, **values}
        return (Change(PLACE, {k: v for k, v in both.items() if v is not REMOVE}, choice),)


def drafting_of(case: "Case") -> Drafting | None:
    """The profile's speculative decoding; None without, or on another engine than vLLM."""
    given = case.speculation
    if case.engine != "vllm" or (given is None and not case.args.keys() & SHORT.keys()):
        return None
    config = dict(given or {})
    for flag, key in SHORT.items():
        if flag in case.args:
            config.setdefault(key, case.args[flag])
    model, stated = _text(config.get("model")), _text(config.get("method"))
    written = case.args.get("speculative_config")
    return Drafting(
        config=config,
        method=_method(case, stated, model),
        stated=stated,
        model=model,
        tokens=whole(config.get("num_speculative_tokens")),
        unmapped=not isinstance(written, Mapping) and written is not None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def whole(value: Any) -> int | None:
    """A whole number as the engine reads one: 3.0 and "3" are, true is none."""
    if isinstance(value, str) and _DECIMAL.match(value.strip()):
        return int(float(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) < 1e15 and value == int(value) else None  # NaN is not less


def _method(case: "Case", stated: str | None, model: str | None) -> str:
    method = stated
    if stated == "[ngram]" or (stated is None and model in ("ngram", "[ngram]")):
        return "ngram"
    if method is None:
        if model is None:
            return ""
        if case.at_least(0, 22, 1) and _DOTTED.match(model):
            return "custom_class"
        method = "draft_model"
    if case.at_least(0, 11, 0) and method.endswith("_mtp"):
        method = "mtp"
    if model is None or method not in ("draft_model", "mtp", "medusa", "mlp_speculator"):
        return method
    return _by_name(case, model) or _by_checkpoint(case) or method


def _by_name(case: "Case", model: str) -> str | None:
    low = model.lower()
    for part, method, since in _BY_NAME:
        if part in low and case.at_least(*since):
            return method
    return None


def _by_checkpoint(case: "Case") -> str | None:
    facts = case.draft
    kind = facts.model_type if facts else None
    if kind is None:
        return None
    return "mtp" if kind.endswith("_mtp") else _DRAFT_TYPES.get(kind)


def runner_of(case: "Case", drafting: Drafting) -> Runner:
    """Which of vLLM's two model runners will work; "either" where the model decides."""
    asked = case.environment.get("VLLM_USE_V2_MODEL_RUNNER", "").strip()
    if asked in ("0", "1"):
        return "second" if asked == "1" else "first"
    if not case.at_least(0, 22, 0) or case.on_cpu or needs_first_runner(drafting):
        return "first"
    return "second" if case.at_least(0, 30, 0) or drafting.method == "dspark" else "either"


def needs_first_runner(drafting: Drafting) -> str | None:
    """What of it the newer runner lacks; None for nothing."""
    if drafting.method in _FIRST_RUNNER_ONLY:
        return f"the method {drafting.method}"
    if drafting.config.get("parallel_drafting") is True and drafting.method not in (
        "dflash",
        "dspark",
    ):
        return "parallel_drafting"
    if drafting.config.get("use_heterogeneous_vocab") is True:
        return "use_heterogeneous_vocab"
    return None


def as_ngram(drafting: Drafting, choice: str) -> tuple[Change, ...]:
    """The edits that put n-gram lookup in place of a method that cannot run."""
    values: dict[str, Any] = {key: REMOVE for key in drafting.config if key in _OF_A_MODEL}
    if "num_speculative_tokens" not in drafting.config:
        values["num_speculative_tokens"] = 3
    return drafting.put(choice, **values, method="ngram")
