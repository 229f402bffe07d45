"""Counters, gauges and restarts out of hand-made series."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.telemetry.counters import (
    ServerMetrics,
    gauge_over_time,
    histogram_delta,
    increase,
    increase_by_label,
    read_server,
    restarts,
    steps,
)
from runners.telemetry.engine_names import known_engines, names_spoken

Sample = tuple[int, str, str, dict[str, str], float]


def server(
    path: Path, samples: list[Sample], up: dict[str, list[tuple[int, int]]]
) -> ServerMetrics:
    rows = [
        *samples,
        *((t, source, "up", {}, float(v)) for source, many in up.items() for t, v in many),
    ]
    t, source, metric, labels, value = zip(*rows, strict=True)
    table = pa.table(
        {
            "t_ns": pa.array(t, pa.int64()),
            "source": source,
            "metric": metric,
            "labels": [json.dumps(one, sort_keys=True) for one in labels],
            "value": pa.array(value, pa.float64()),
        }
    )
    pq.write_table(table, path / "server.parquet")
    found = read_server(path / "server.parquet")
    assert found is not None
    return found


def test_a_counter_is_summed_over_engines_and_pods(tmp_path: Path) -> None:
    # Two engines in pod a, one in pod b, which is scraped a little later.
    found = server(
        tmp_path,
        [
            (0, "a", "tokens_total", {"engine": "0"}, 100.0),
            (1000, "a", "tokens_total", {"engine": "0"}, 130.0),
            (0, "a", "tokens_total", {"engine": "1"}, 7.0),
            (1000, "a", "tokens_total", {"engine": "1"}, 9.0),
            (40, "b", "tokens_total", {"engine": "0"}, 50.0),
            (1040, "b", "tokens_total", {"engine": "0"}, 51.0),
        ],
        {"a": [(0, 1), (1000, 1)], "b": [(40, 1), (1040, 1)]},
    )
    assert increase(found, ("tokens_total",), 0, 1000) == 30 + 2 + 1
    assert increase_by_label(found, ("tokens_total",), "engine", 0, 1000) == {"0": 31, "1": 2}
    assert increase(found, ("older_total", "tokens_total"), 0, 1000) == 33
    assert increase(found, ("missing_total",), 0, 1000) is None


def test_a_label_set_born_during_the_run_counts_from_zero(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [
            (2, "a", "done_total", {"reason": "stop"}, 4.0),
            (3, "a", "done_total", {"reason": "stop"}, 9.0),
        ],
        {"a": [(0, 1), (1, 1), (2, 1), (3, 1)]},
    )
    assert increase(found, ("done_total",), 0, 3) == 9.0
    assert steps(found, ("done_total",), 0, 3).tolist() == [0.0, 4.0, 5.0]
    assert restarts(found) == ()


def test_gaps_are_counted_and_bridged(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [(0, "a", "x_total", {}, 1.0), (3, "a", "x_total", {}, 7.0)],
        {"a": [(0, 1), (1, 0), (2, 0), (3, 1)]},
    )
    assert found.gaps == 2
    assert found.instants.tolist() == [0, 3]
    assert increase(found, ("x_total",), 0, 3) == 6.0


def test_a_decrease_is_a_restart_with_its_time(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [
            *((t, "a", "x_total", {}, v) for t, v in enumerate([5.0, 9.0, 2.0, 3.0])),
            *((t, "a", "running", {}, v) for t, v in enumerate([4.0, 0.0, 4.0, 0.0])),
            *((t, "a", "seen_count", {}, v) for t, v in enumerate([1.0, 2.0, 2.0, 0.0])),
        ],
        {"a": [(t, 1) for t in range(4)]},
    )
    assert [(r.metric, r.t_ns, r.before, r.after) for r in restarts(found)] == [
        ("x_total", 2, 9.0, 2.0)
    ]
    assert [r.metric for r in restarts(found, ("seen_count",))] == ["x_total", "seen_count"]


def test_a_new_start_time_is_a_restart_even_where_counters_grew(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [(t, "a", "process_start_time_seconds", {}, v) for t, v in ((0, 100.0), (1, 160.0))],
        {"a": [(0, 1), (1, 1)]},
    )
    assert [r.t_ns for r in restarts(found)] == [1]


def test_histograms_give_the_mean_between_two_instants(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [
            (0, "a", "ttft_count", {}, 10.0),
            (9, "a", "ttft_count", {}, 30.0),
            (0, "a", "ttft_sum", {}, 100.0),
            (9, "a", "ttft_sum", {}, 101.0),
        ],
        {"a": [(0, 1), (9, 1)]},
    )
    delta = histogram_delta(found, ("ttft",), 0, 9)
    assert delta is not None
    assert delta.count == 20.0
    assert delta.mean == pytest.approx(0.05)
    nothing = histogram_delta(found, ("ttft",), 9, 9)
    assert nothing is not None and nothing.mean is None


def test_gauges_add_up_or_average_over_engines(tmp_path: Path) -> None:
    found = server(
        tmp_path,
        [
            *((t, "a", "running", {"engine": "0"}, v) for t, v in enumerate([1.0, 2.0, 3.0])),
            *((t, "a", "running", {"engine": "1"}, v) for t, v in enumerate([3.0, 4.0, 5.0])),
        ],
        {"a": [(t, 1) for t in range(3)]},
    )
    whole = gauge_over_time(found, ("running",), "sum", 0, 2)
    late = gauge_over_time(found, ("running",), "mean", 1, 2)
    assert whole is not None and (whole.mean, whole.max) == (6.0, 8.0)
    assert late is not None and (late.mean, late.max) == (3.5, 4.0)


def test_the_engine_is_known_by_the_names_it_speaks() -> None:
    assert {engine.engine for engine in known_engines()} >= {"vllm"}
    spoken = names_spoken({"vllm:generation_tokens_total", "python_info"})
    assert spoken is not None and spoken.engine == "vllm"
    assert names_spoken({"python_info"}) is None
