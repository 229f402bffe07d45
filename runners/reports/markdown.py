"""A run, a group or a comparison as Markdown, for a pull request."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runners.errors import UsageError
from runners.reports.comparison_sections import conclusion, pairs_of, statuses_text
from runners.reports.group_sections import (
    interval_legend,
    labelled,
    left_out,
    metric_rows,
    run_rows,
    stat_in,
    step_rows,
    verdict_text,
)
from runners.reports.run_facts import Facts, read_facts
from runners.reports.sections import (
    COLUMNS,
    confidence_text,
    latency_rows,
    request_counts,
    sections,
    unmeasured,
    verdict_of,
    window_text,
)
from runners.reports.wording import DASH, interval_text, value_text
from runners.rundir import RunDirectory

_SIMULATED = "> **Simulated**: a simulator answered, these are not an engine's figures.\n"
_RUN_COLUMNS = ("output_throughput_tok_s", "ttft_ms.p50", "ttft_ms.p95", "tpot_ms.p50")


def summary_markdown(place: Path) -> str:
    """Of a directory with results.json, group.json or comparison.json. Raises UsageError."""
    run = RunDirectory(place)
    if (group := run.read_json("group.json")) is not None:
        return _joined(_group(run, group))
    if (comparison := run.read_json("comparison.json")) is not None:
        head = f"## {_cell(', '.join(side['name'] for side in comparison['sides']))}"
        return _joined([head, *_comparison(comparison)])
    if (results := run.read_json("results.json")) is not None:
        return _joined(_run(run, results))
    raise UsageError(f"{place}: no results.json, group.json or comparison.json there")


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _cell(text: Any) -> str:
    """Text from outside stays text, also in a table."""
    escaped = re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
    return escaped or DASH


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """The first `left` columns and none other are aligned to the left."""
    if not rows:
        return ""
    rule = [":--" if place < left else "--:" for place in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(text)}" for text in texts)


def _with(value: str, interval: str) -> str:
    return f"{value} <sub>{interval}</sub>" if interval else value


def _run(run: RunDirectory, results: Mapping[str, Any]) -> list[str]:
    facts = read_facts(run, results)
    status, reasons = verdict_of(results)
    counts = request_counts(results)
    errors = "".join(f", {_cell(name)} {many}" for name, many in counts.by_error)
    figures = [
        [_cell(f"{line.label}"), _with(line.value, line.interval), _cell(line.unit)]
        for part in sections(results)
        if part.title in ("Throughput", "Cost and energy")
        for line in part.lines
        if line.value != DASH
    ]
    latencies = [
        [
            _cell(f"{row.label}, {row.unit}" if row.unit else row.label),
            *(_with(value_text(row.cells[c]), interval_text(row.cells[c])) for c in COLUMNS),
        ]
        for row in latency_rows(results)
    ]
    missing = "; ".join(f"{', '.join(keys)} ({reason})" for keys, reason in unmeasured(results))
    return [
        f"## {_cell(facts.profile or run.run_id)}: {status}",
        _SIMULATED if results.get("simulated") else "",
        _about(facts),
        _listed(reasons),
        _table(["Latency", *COLUMNS], latencies),
        _table(["Figure", "", "unit"], figures),
        f"{counts.ok} requests ok, {counts.failed} failed{errors}. {_cell(window_text(results))}. "
        f"{confidence_text(results)}.",
        f"Not measured: {_cell(missing)}." if missing else "",
        f"<sub>{_cell(results.get('run_id') or run.run_id)}</sub>",
    ]


def _about(facts: Facts) -> str:
    parts = (facts.model, facts.engine, facts.target, facts.load, facts.workload)
    return " · ".join(_cell(part) for part in parts if part)


def _group(group: RunDirectory, summary: Mapping[str, Any]) -> list[str]:
    status, counts = verdict_text(summary)
    first = RunDirectory(group / "runs" / summary["runs"][0]["run"]) if summary["runs"] else group
    comparison = summary.get("comparison")
    over = [
        [_cell(row.label), _with(row.mean, row.interval), row.least, row.most, row.cv, row.runs]
        for row in metric_rows(summary)
    ]
    return [
        f"## {_cell(summary['profile'])}: {status}",
        _SIMULATED if summary["simulated"] and not comparison else "",
        _about(read_facts(first, first.read_json("results.json") or {})),
        f"**{_cell(summary['conclusion']['text'])}.** {counts}.",
        _listed(summary["verdict"]["reasons"]),
        *(_comparison(comparison) if comparison else ()),
        _table(["Over runs", "mean", "min", "max", "CV", "runs"], over),
        f"<sub>{_cell(interval_legend(summary))}</sub>" if over else "",
        _listed(f"not run: {name}: {why}" for name, why in left_out(summary)),
        _steps(summary),
        "" if comparison else _runs(group, summary),
        f"<sub>{_cell(summary['group_id'])}</sub>",
    ]


def _steps(summary: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{step.load}{f' **{step.mark}**' if step.mark else ''}",
            "yes" if step.kept else "no",
            "<br>".join(f"{outcome}: {_cell(text)}" for outcome, text in step.objectives),
        ]
        for step in step_rows(summary)
    ]
    return _table(["Load", "kept", "objectives"], rows, left=3)


def _runs(group: RunDirectory, summary: Mapping[str, Any]) -> str:
    results = {
        run["run"]: found
        for run in summary["runs"]
        if (found := RunDirectory(group / "runs" / run["run"]).read_json("results.json"))
    }
    keys = [
        key
        for key in _RUN_COLUMNS
        if any(stat_in(of, key).value is not None for of in results.values())
    ]
    rows = [
        [_cell(row.varied), *(_with(*figure) for figure in row.figures), row.status]
        for row in run_rows(summary, results, keys)
    ]
    return _table(["Run", *(_cell(labelled(key)) for key in keys), "verdict"], rows)


def _comparison(comparison: Mapping[str, Any]) -> list[str]:
    parts = [
        _SIMULATED if comparison["simulated"] else "",
        f"**{_cell(conclusion(comparison))}.**",
        _listed(f"{name}: {text}" for name, text in statuses_text(comparison)),
    ]
    for pair in pairs_of(comparison):
        rows = [
            [
                _cell(row.label),
                row.baseline,
                row.value,
                row.change,
                row.interval,
                row.p.replace("<", "\\<"),
                f"**{row.verdict}**" if row.tone in ("better", "worse") else row.verdict,
            ]
            for row in pair.rows
        ]
        names = [_cell(pair.baseline), _cell(pair.side)]
        rounds = "1 paired round" if pair.rounds == 1 else f"{pair.rounds} paired rounds"
        head = ["Figure", *names, "change", "95 % interval", "p (Holm)", "verdict"]
        parts += [
            f"### {names[1]} against {names[0]}, {rounds}",
            _listed(f"gate {outcome}: {text}" for outcome, text in pair.gates),
            _listed([*(f"not comparable: {text}" for text in pair.obstacles), *pair.remarks]),
            _table(head, rows),
            _listed(f"{key}: {first} → {second}" for key, first, second in pair.differs),
        ]
    return parts
