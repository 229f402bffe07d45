"""results.json as rows and lines to show, in a fixed order, for any kind of report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runners.reports.bill import bill_lines
from runners.reports.lines import Line, line_of
from runners.reports.wording import (
    DASH,
    Estimate,
    count,
    estimate,
    reason_text,
    term,
)

COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")
_LATENCIES = (
    "ttft_ms",
    "ttft_from_intended_ms",
    "tpot_ms",
    "inter_chunk_latency_ms",
    "e2e_latency_ms",
    "e2e_latency_from_intended_ms",
)
_THROUGHPUT = (
    "request_throughput_req_s",
    "output_throughput_tok_s",
    "total_throughput_tok_s",
    "goodput_req_s",
    "goodput_fraction",
)
_SERVER = ("acceptance_rate", "mean_acceptance_length", "prefix_cache_hit_rate")
_STARTUP = ("startup_s", "model_weights_gib", "kv_cache_gib", "kv_cache_tokens")
_COST = (
    "cost_per_million_output_tokens",
    "cost_per_million_total_tokens",
    "cost_per_thousand_requests",
    "cost_per_good_request",
    "energy_j_per_output_token",
)
# Shown as a ratio of two of them, in `metrics`.
_IN_RATIOS = (
    "prefix_cache_queries",
    "prefix_cache_hits",
    "drafts",
    "draft_tokens",
    "accepted_tokens",
)
_SCRAPING = ("scrapes", "gaps", "scrape_ms_mean", "scrape_ms_max")
# A from-intended row is shown where it says something its plain row does not.
_NOTICEABLE = 0.02


@dataclass(frozen=True)
class LatencyRow:
    """One distribution, in `unit` (ms, or s where ms would be unreadable)."""

    key: str
    label: str
    unit: str
    cells: Mapping[str, Estimate]
    count: Any
    adjusted_p99: Estimate


@dataclass(frozen=True)
class Section:
    title: str
    lines: Sequence[Line]


def metrics_of(results: Mapping[str, Any]) -> Mapping[str, Any]:
    return results.get("metrics") or {}


def verdict_of(results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """(VALID | DEGRADED | INVALID | UNKNOWN, one text per reason)."""
    verdict = results.get("verdict") or {}
    status = str(verdict.get("status") or "unknown").upper()
    return status, [reason_text(reason) for reason in verdict.get("reasons") or ()]


def _is_distribution(stat: Any) -> bool:
    return isinstance(stat, Mapping) and ("p50" in stat or "mean" in stat)


def latency_rows(results: Mapping[str, Any]) -> list[LatencyRow]:
    """The latency table; from-intended rows only where they differ noticeably."""
    metrics = metrics_of(results)
    others = [k for k, stat in metrics.items() if k not in _LATENCIES and _is_distribution(stat)]
    shown = [key for key in _LATENCIES if _worth_a_row(metrics, key)]
    return [_latency_row(key, metrics.get(key)) for key in (*shown, *others)]


def _worth_a_row(metrics: Mapping[str, Any], key: str) -> bool:
    if "_from_intended" not in key:
        return True
    intended, plain = metrics.get(key), metrics.get(key.replace("_from_intended", ""))
    if not isinstance(intended, Mapping) or not isinstance(plain, Mapping):
        return False
    for name in ("mean", "p50", "p99", "max"):
        late, base = estimate(intended.get(name)).value, estimate(plain.get(name)).value
        if late is not None and base and abs(late - base) / base > _NOTICEABLE:
            return True
    return False


def _latency_row(key: str, stat: Any) -> LatencyRow:
    stat = stat if isinstance(stat, Mapping) else {}
    name = term(key)
    cells = {column: estimate(stat.get(column)).scaled(name.scale) for column in COLUMNS}
    adjusted = estimate(stat.get("adjusted_p99")).scaled(name.scale)
    unit = name.unit
    if unit == "ms" and max((cell.value or 0.0 for cell in cells.values()), default=0) >= 10_000:
        unit = "s"
        cells = {column: cell.scaled(1e-3) for column, cell in cells.items()}
        adjusted = adjusted.scaled(1e-3)
    return LatencyRow(key, name.label, unit, cells, stat.get("count"), adjusted)


def sections(results: Mapping[str, Any]) -> list[Section]:
    """Everything but the latency table.

    Throughput is always there; other lines only as far as they were measured, since
    `unmeasured` tells the rest.
    """
    metrics = metrics_of(results)
    listed = {*_LATENCIES, *_THROUGHPUT, *_SERVER, *_STARTUP, *_COST}
    others = [k for k, s in metrics.items() if k not in listed and not _is_distribution(s)]
    parts = [
        Section("Throughput", _lines(metrics, _THROUGHPUT)),
        Section("Server", [*_lines(metrics, _SERVER), *_server_lines(results)]),
        Section("Client", _client_lines(results)),
        Section("Start-up", _lines(metrics, _STARTUP)),
        Section("Cost and energy", [*_cost_lines(metrics), *bill_lines(results)]),
        Section("Also measured", _lines(metrics, others)),
    ]
    known = [
        Section(part.title, [line for line in part.lines if line.value != DASH])
        for part in parts[1:]
    ]
    return [parts[0], *(part for part in known if part.lines)]


def _lines(metrics: Mapping[str, Any], keys: Sequence[str]) -> list[Line]:
    return [line_of(key, metrics[key]) for key in keys if key in metrics]


def _server_lines(results: Mapping[str, Any]) -> list[Line]:
    """What the server counted over the window; its ingredients of ratios are left out."""
    server = results.get("server")
    if not isinstance(server, Mapping):
        return []
    lines = []
    for key, stat in server.items():
        if key == "token_check" and isinstance(stat, Mapping):
            lines += _token_check_lines(stat)
        elif _is_figure(stat) and _worth_a_line(key, server):
            lines.append(_server_line(key, stat, server))
    return lines


def _worth_a_line(key: str, server: Mapping[str, Any]) -> bool:
    if key in _SCRAPING or key in _IN_RATIOS or key.endswith("_count"):
        return False
    return not (key.endswith("_max") and key.replace("_max", "_mean") in server)


def _server_line(key: str, stat: Any, server: Mapping[str, Any]) -> Line:
    """A gauge's mean with its maximum beside it; a mean of the engine's own histogram."""
    if key.endswith("_mean_ms"):
        line = line_of(key.replace("_mean", ""), stat)
        return replace(line, label=f"engine's mean {line.label}")
    line = line_of(key, stat)
    if key.endswith("_mean") and (most := server.get(key.replace("_mean", "_max"))) is not None:
        highest = line_of(key, most)
        return replace(line, note=" ".join(("max", highest.value, highest.unit)).strip())
    return line


def _token_check_lines(check: Mapping[str, Any]) -> list[Line]:
    if not _is_figure(check.get("difference")):
        return []
    note = f"client {count(check.get('client'))}, server {count(check.get('server'))}"
    return [replace(line_of("token_difference_fraction", check["difference"]), note=note)]


def _client_lines(results: Mapping[str, Any]) -> list[Line]:
    """Whether the client kept to its plan."""
    client = results.get("client")
    client = client if isinstance(client, Mapping) else {}
    offered, lag = client.get("offered"), client.get("send_lag_ms")
    lines = []
    if isinstance(offered, Mapping) and _is_figure(offered.get("sent_req_s")):
        plan = line_of("planned_req_s", offered.get("planned_req_s"))
        note = f"planned {plan.value}"
        lines.append(replace(line_of("sent_req_s", offered["sent_req_s"]), note=note))
    if isinstance(lag, Mapping) and _is_figure(lag.get("p99")):
        most = line_of("send_lag_ms", lag.get("max"))
        line = replace(line_of("send_lag_ms", lag["p99"]), label="send lag p99")
        lines.append(replace(line, note=f"max {most.value} {most.unit}"))
    if _is_figure(client.get("read_lag_p99_ms")):
        lines.append(line_of("read_lag_p99_ms", client["read_lag_p99_ms"]))
    return lines


def _is_figure(stat: Any) -> bool:
    if isinstance(stat, Sequence) and not isinstance(stat, str):
        return bool(stat) and all(estimate(item).value is not None for item in stat)
    return estimate(stat).value is not None


def _cost_lines(metrics: Mapping[str, Any]) -> list[Line]:
    lines = []
    for key in (k for k in _COST if k in metrics):
        stat = metrics[key]
        line = line_of(key, stat)
        if isinstance(stat, Mapping):
            source = [str(stat[k]) for k in ("price_source", "price_date") if stat.get(k)]
            unit = " ".join(filter(None, [str(stat.get("currency") or ""), line.unit]))
            line = Line(key, line.label, line.value, line.interval, unit, ", ".join(source))
        lines.append(line)
    return lines


@dataclass(frozen=True)
class RequestCounts:
    """`by_error`: (error class, how many), the most frequent first; `notes`: further counts."""

    ok: str
    failed: str
    by_error: Sequence[tuple[str, int]]
    notes: Sequence[str]


def request_counts(results: Mapping[str, Any]) -> RequestCounts:
    requests = results.get("requests") or {}
    ranked = sorted((requests.get("by_error") or {}).items(), key=lambda e: (-int(e[1]), e[0]))
    words = {
        "in_window": "ok and inside the window",
        "warmup": "warm-up requests",
        "not_sent": "not sent",
        "capped": "held back by the concurrency cap",
    }
    notes = [f"{count(requests[key])} {text}" for key, text in words.items() if requests.get(key)]
    return RequestCounts(count(requests.get("ok")), count(requests.get("failed")), ranked, notes)


def unmeasured(results: Mapping[str, Any]) -> list[tuple[list[str], str]]:
    """[(names, the reason they share)]; a null metric without a reason says so."""
    reasons = dict(results.get("not_measured") or {})
    for key, stat in metrics_of(results).items():
        if stat is None and key not in reasons:
            reasons[key] = "no reason recorded"
    grouped: dict[str, dict[str, None]] = {}
    for key, reason in reasons.items():
        few = key.endswith(".interval") and " needed" in str(reason)
        said = "too few independent samples for some metrics; a longer run gives them"
        grouped.setdefault(said if few else str(reason), {})[_short(key)] = None
    return [(list(keys), reason) for reason, keys in grouped.items()]


def _short(key: str) -> str:
    """A statistic that many metrics lack for one reason gets one name for all of them."""
    parts = key.split(".")
    if len(parts) == 1:
        return key
    if parts[1] == "interval":
        return f"interval of {parts[0]}"
    percentile = parts[1].removeprefix("adjusted_")
    return f"intervals of {percentile}" if parts[-1] == "interval" else f"{parts[0]} {percentile}"


def confidence_text(results: Mapping[str, Any]) -> str:
    """What the intervals are, for a legend."""
    confidence = estimate((results.get("statistics") or {}).get("confidence")).value
    level = "" if confidence is None else f"{100 * confidence:g} % "
    return f"± and ranges: {level}confidence intervals"


def window_text(results: Mapping[str, Any]) -> str:
    """The measured window in a sentence; empty if none was recorded."""
    window = results.get("window") or {}
    start, end = estimate(window.get("start_s")).value, estimate(window.get("end_s")).value
    if start is None or end is None:
        return ""
    method = f", {window['method']}" if window.get("method") else ""
    return f"{end - start:.1f} s measured ({start:.1f}–{end:.1f} s of load{method})"
