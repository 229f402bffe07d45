"""How results are put into words: names, units, and numbers with their uncertainty.

Shared by the console and report.html, so that both say the same thing.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DASH = "—"


@dataclass(frozen=True)
class Term:
    """A metric's name for people; `scale` turns the stored value into `unit`."""

    label: str
    unit: str = ""
    scale: float = 1.0


@dataclass(frozen=True)
class Estimate:
    """A value with the interval it lies in; None: not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> "Estimate":
        return Estimate(
            *(None if x is None else x * factor for x in (self.value, self.low, self.high))
        )


TERMS = {
    "ttft_ms": Term("TTFT", "ms"),
    "ttft_from_intended_ms": Term("TTFT from intended", "ms"),
    "tpot_ms": Term("TPOT", "ms"),
    "inter_chunk_latency_ms": Term("inter-chunk", "ms"),
    "e2e_latency_ms": Term("end-to-end", "ms"),
    "e2e_latency_from_intended_ms": Term("end-to-end from intended", "ms"),
    "request_throughput_req_s": Term("requests", "req/s"),
    "output_throughput_tok_s": Term("output tokens", "tok/s"),
    "total_throughput_tok_s": Term("all tokens", "tok/s"),
    "goodput_req_s": Term("goodput", "req/s"),
    "goodput_fraction": Term("share within SLO", "%", 100),
    "acceptance_rate": Term("acceptance rate", "%", 100),
    "mean_acceptance_length": Term("acceptance length", "tokens/step"),
    "prefix_cache_hit_rate": Term("prefix-cache hits", "%", 100),
    "cost_per_million_output_tokens": Term("cost", "per million output tokens"),
    "cost_per_million_total_tokens": Term("cost of all tokens", "per million tokens"),
    "cost_per_thousand_requests": Term("cost of requests", "per thousand"),
    "cost_per_good_request": Term("cost of a good request", "per request within SLO"),
    "energy_j_per_output_token": Term("energy", "J per output token"),
    "acceptance_per_position": Term("accepted by position", "%", 100),
    "cached_prompt_tokens": Term("cached tokens"),
    "sent_req_s": Term("requests sent", "req/s"),
    "running_mean": Term("running, mean", "requests"),
    "waiting_mean": Term("waiting, mean", "requests"),
    "kv_cache_usage_mean": Term("KV cache use, mean", "%", 100),
    "token_difference_fraction": Term("client − server", "% of tokens", 100),
    "startup_s": Term("start-up", "s"),
    "model_weights_gib": Term("model weights", "GiB"),
    "kv_cache_gib": Term("KV cache", "GiB"),
    "kv_cache_tokens": Term("KV cache tokens"),
}

# The longest suffix that fits names the unit; these stay valid for metrics added later.
_UNITS = {
    "_tok_s": Term("", "tok/s"),
    "_req_s": Term("", "req/s"),
    "_ms": Term("", "ms"),
    "_s": Term("", "s"),
    "_gib": Term("", "GiB"),
    "_bytes": Term("", "B"),
    "_rate": Term(" rate", "%", 100),
    "_fraction": Term(" share", "%", 100),
    "_share": Term(" share", "%", 100),
    "_ratio": Term(" ratio", "%", 100),
    "_perc": Term("", "%", 100),
    "_usage": Term(" use", "%", 100),
}
_ACRONYMS = {"ttft": "TTFT", "tpot": "TPOT", "kv": "KV", "e2e": "end-to-end", "gpu": "GPU"}


def term(key: str) -> Term:
    """The name of a metric; one that is not listed above is read from its key."""
    if key in TERMS:
        return TERMS[key]
    if part := re.fullmatch(r"(.+)_(mean|min|max|p\d+)", key):
        whole = term(part[1])
        return Term(f"{whole.label} {part[2]}", whole.unit, whole.scale)
    for suffix, unit in _UNITS.items():
        if key.endswith(suffix):
            return Term(_words(key.removesuffix(suffix)) + unit.label, unit.unit, unit.scale)
    return Term(_words(key))


def _words(key: str) -> str:
    words = (_ACRONYMS.get(word, word) for word in re.split(r"[_:.]+", key) if word)
    return " ".join(words)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def estimate(stat: Any) -> Estimate:
    """Read `{"value", "low", "high"}`, a bare number, or null."""
    if isinstance(stat, Mapping):
        return Estimate(*(_finite(stat.get(name)) for name in ("value", "low", "high")))
    return Estimate(_finite(stat))


def _half_width(of: Estimate) -> float | None:
    if of.value is None or of.low is None or of.high is None:
        return None
    return max(of.high - of.value, of.value - of.low)


def _places(of: Estimate) -> int:
    """Decimals worth showing: about three digits, more where the interval is narrower."""
    size = abs(of.value or 0.0)
    if size == int(size) and _half_width(of) is None:
        return 0
    whole = 1 if size < 10 else 2 if size < 100 else 3 if size < 1000 else 4
    places = max(0, 3 - whole)
    if 0 < size < 0.1:
        places = min(6, 1 - math.floor(math.log10(size)))
    half = _half_width(of)
    if half:
        places = max(places, min(5 - whole, math.ceil(-math.log10(half))))
    return places


def number(value: float | None, places: int = 0) -> str:
    """A number with separators from 10,000 on; an em dash where there is none."""
    if value is None:
        return DASH
    text = f"{value:,.{places}f}"
    return text if abs(value) >= 10_000 else text.replace(",", "")


def value_text(of: Estimate) -> str:
    return number(of.value, _places(of))


def values_text(items: Sequence[Estimate]) -> str:
    """Several values of one kind, with the same decimals."""
    places = max(map(_places, items), default=0)
    return ", ".join(number(item.value, places) for item in items) or DASH


def interval_text(of: Estimate) -> str:
    """`±0.4` where the interval is about symmetric, else `50.9–51.6`; empty without one."""
    half = _half_width(of)
    if of.value is None or of.low is None or of.high is None or half is None:
        return ""
    places = _places(of)
    if half == 0:
        return "±0"
    lopsided = abs((of.high - of.value) - (of.value - of.low)) > 0.1 * (of.high - of.low)
    if lopsided:
        return f"{number(of.low, places)}–{number(of.high, places)}"
    if round(half, places) == 0:
        return f"±<{10**-places:g}"
    return f"±{number(half, places)}"


def count(value: Any) -> str:
    """A whole number, or an em dash."""
    return number(_finite(value))


def reason_text(reason: Any) -> str:
    """One reason of a verdict: plain text, or a mapping with the text in it."""
    if isinstance(reason, Mapping):
        for name in ("message", "reason", "why", "text"):
            if reason.get(name):
                return str(reason[name])
        return ", ".join(f"{_words(str(k))} {v}" for k, v in reason.items())
    return str(reason)
