"""Names of TGI and trtllm-serve, read from texts in their servers' own form."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runners.telemetry.counters import (
    ServerMetrics,
    gauge_over_time,
    histogram_delta,
    increase,
    increase_by_label,
    read_server,
)
from runners.telemetry.engine_names import EngineNames, names_spoken

TGI = """\
# TYPE tgi_request_success counter
tgi_request_success {n}
# TYPE tgi_request_failure counter
tgi_request_failure{{err="overloaded"}} {n}
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 3
# TYPE tgi_queue_size gauge
tgi_queue_size 1
# TYPE tgi_request_input_length histogram
tgi_request_input_length_bucket{{le="+Inf"}} {n}
tgi_request_input_length_sum {n}00
tgi_request_input_length_count {n}
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_bucket{{le="+Inf"}} {n}
tgi_request_generated_tokens_sum {n}0
tgi_request_generated_tokens_count {n}
# TYPE tgi_request_queue_duration histogram
tgi_request_queue_duration_bucket{{le="+Inf"}} {n}
tgi_request_queue_duration_sum {n}
tgi_request_queue_duration_count {n}
"""

TRTLLM = """\
# TYPE trtllm_request_success_total counter
trtllm_request_success_total{{engine_type="trtllm",finished_reason="length"}} {n}
# TYPE trtllm_prompt_tokens_total counter
trtllm_prompt_tokens_total{{engine_type="trtllm"}} {n}00
# TYPE trtllm_generation_tokens_total counter
trtllm_generation_tokens_total{{engine_type="trtllm"}} {n}0
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{{engine_type="trtllm"}} 3
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{{engine_type="trtllm"}} 1
# TYPE trtllm_request_queue_time_seconds histogram
trtllm_request_queue_time_seconds_bucket{{engine_type="trtllm",le="+Inf"}} {n}
trtllm_request_queue_time_seconds_sum{{engine_type="trtllm"}} {n}
trtllm_request_queue_time_seconds_count{{engine_type="trtllm"}} {n}
"""

TRITON = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="tensorrt_llm",version="1"}} {n}
# TYPE nv_llm_input_token_len histogram
nv_llm_input_token_len_bucket{{response_metric_type="total_input_tokens",le="+Inf"}} {n}
nv_llm_input_token_len_sum{{response_metric_type="total_input_tokens"}} {n}00
nv_llm_input_token_len_count{{response_metric_type="total_input_tokens"}} {n}
# TYPE nv_llm_output_token_len histogram
nv_llm_output_token_len_bucket{{response_metric_type="total_output_tokens",le="+Inf"}} {n}
nv_llm_output_token_len_sum{{response_metric_type="total_output_tokens"}} {n}0
nv_llm_output_token_len_count{{response_metric_type="total_output_tokens"}} {n}
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{{request_type="active"}} 4
nv_trt_llm_request_metrics{{request_type="scheduled"}} 3
nv_trt_llm_request_metrics{{request_type="waiting"}} 1
nv_trt_llm_request_metrics{{request_type="max"}} 512
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="fraction"}} 0.5
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="max"}} 6239
# TYPE nv_trt_llm_inflight_batcher_metrics gauge
nv_trt_llm_inflight_batcher_metrics{{inflight_batcher_specific_metric="paused_requests"}} 2
nv_trt_llm_inflight_batcher_metrics{{inflight_batcher_specific_metric="micro_batch_id"}} 7
"""


def scraped(path: Path, template: str) -> ServerMetrics:
    """Scrapes at 0 and 10 ns; everything that counts went from 2 to 7."""
    rows: list[tuple[int, str, str, float]] = [(t, "up", "{}", 1.0) for t in (0, 10)]
    for t, n in ((0, 2), (10, 7)):
        for family in text_string_to_metric_families(template.format(n=n)):
            for one in family.samples:
                rows.append((t, one.name, json.dumps(one.labels, sort_keys=True), one.value))
    t_ns, metric, labels, value = zip(*rows, strict=True)
    columns = {
        "t_ns": pa.array(t_ns, pa.int64()),
        "source": ["s"] * len(rows),
        "metric": list(metric),
        "labels": list(labels),
        "value": pa.array(value, pa.float64()),
    }
    pq.write_table(pa.table(columns), path)
    server = read_server(path)
    assert server is not None
    return server


@pytest.mark.parametrize(("engine", "template"), [("tgi", TGI), ("tensorrt-llm", TRTLLM)])
def test_tokens_gauges_and_times(engine: str, template: str, tmp_path: Path) -> None:
    server = scraped(tmp_path / "server.parquet", template)
    names = names_spoken(server.series.keys())
    assert isinstance(names, EngineNames) and names.engine == engine
    assert increase(server, names.counters["prompt_tokens"], 0, 10) == 500
    assert increase(server, names.counters["generation_tokens"], 0, 10) == 50
    for word, value in (("running", 3), ("waiting", 1)):
        gauge = names.gauges[word]
        seen = gauge_over_time(server, gauge.names, gauge.combine, 0, 10)
        assert seen is not None and seen.max == value
    queue = histogram_delta(server, names.histograms["queue_time"], 0, 10)
    assert queue is not None and (queue.count, queue.mean) == (5, 1.0)
    assert "inter_token_latency" not in names.histograms
    (labelled,) = names.labelled.values()
    grown = increase_by_label(server, labelled.names, labelled.label, 0, 10)
    assert grown is not None and list(grown.values()) == [5]


def test_one_name_of_triton_stands_for_several_gauges(tmp_path: Path) -> None:
    server = scraped(tmp_path / "server.parquet", TRITON)
    names = names_spoken(server.series.keys())
    assert names is not None and names.engine == "triton"
    expected = {"running": 3, "waiting": 1, "kv_cache_usage": 0.5, "paused": 2}
    assert set(names.gauges) == set(expected)
    for word, gauge in names.gauges.items():
        seen = gauge_over_time(server, gauge.names, gauge.combine, 0, 10, gauge.where)
        assert seen is not None and seen.mean == expected[word]
    counted = {word: increase(server, alias, 0, 10) for word, alias in names.counters.items()}
    assert counted == {
        "prompt_tokens": 500,
        "generation_tokens": 50,
        "requests_ok": 5,
        "requests_failed": None,
    }
