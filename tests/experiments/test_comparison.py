"""Two sides compared: what must be called a difference, what must not, and what may not be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runners.cli.compare import spread_lists
from runners.errors import UsageError
from runners.experiments.compare import compare
from runners.experiments.comparison import Comparison, comparison_of
from runners.experiments.difference import Value, holm, paired
from runners.experiments.gate import Gate, read_gate
from runners.experiments.rounds import Finished, Round
from runners.experiments.sides import Side
from runners.experiments.variants import of_backends, of_values
from runners.profiles.load import load_profile

PROFILE = {"workload": {"max_tokens": 64}, "load": {"concurrency": 4}, "model": {"uri": "hf://a/b"}}


def a_run(seed: int, ttft: float, **changes: Any) -> Finished:
    stat = {"value": ttft, "low": ttft * 0.98, "high": ttft * 1.02}
    results = {
        "engine": {"name": "vllm", "version": "0.32.0"},
        "model": "m",
        "simulated": False,
        "verdict": {"status": "valid", "reasons": []},
        "requests": {"ok": 100, "failed": 0, "prompt_tokens": 12_800, "output_tokens": 6_400},
        "metrics": {
            "ttft_ms": {"p95": stat},
            "e2e_latency_ms": {"p50": stat},
            "output_throughput_tok_s": {"value": 1e5 / ttft, "low": None, "high": None},
        },
    }
    return Finished(Round(seed, f"round-{seed}", seed), f"run-{seed}", results | changes)


def a_side(name: str, values: list[float], **changes: Any) -> Side:
    runs = tuple(a_run(seed, value, **changes) for seed, value in enumerate(values))
    return Side(name, runs, PROFILE)


def pair_of(found: dict[str, Any]) -> dict[str, Any]:
    (pair,) = found["comparisons"]
    return dict(pair)


def test_a_clear_gain_is_better_with_an_interval_that_excludes_no_change() -> None:
    slow = a_side("slow", [100.0, 103.0, 98.0, 101.0, 99.0])
    fast = a_side("fast", [50.0, 51.0, 49.5, 50.0, 50.5])
    pair = pair_of(compare([slow, fast]))
    latency = pair["metrics"]["ttft_ms.p95"]
    assert latency["verdict"] == "better"
    assert latency["ratio"]["high"] < 1 and latency["difference"]["high"] < 0
    assert latency["baseline"] == pytest.approx(100.2, rel=0.01)
    assert pair["metrics"]["output_throughput_tok_s"]["verdict"] == "better"
    assert pair_of(compare([fast, slow]))["metrics"]["ttft_ms.p95"]["verdict"] == "worse"
    assert latency["rounds_needed"]["10 %"] <= 5


def test_noise_is_no_difference_and_says_how_many_rounds_would_show_one() -> None:
    generator = np.random.default_rng(3)
    a = a_side("a", list(100 * np.exp(generator.normal(size=5) * 0.05)))
    b = a_side("b", list(100 * np.exp(generator.normal(size=5) * 0.05)))
    latency = pair_of(compare([a, b]))["metrics"]["ttft_ms.p95"]
    assert latency["verdict"] == "no difference shown"
    assert latency["rounds_needed"]["1 %"] > latency["rounds_needed"]["5 %"] > 5


def test_of_twenty_comparisons_of_the_same_thing_hardly_one_sees_a_difference() -> None:
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        rounds = [
            [Value(float(v)) for v in 100 * np.exp(generator.normal(size=5) * 0.03)]
            for _ in range(2)
        ]
        found = paired(*rounds)
        assert found.p is not None
        wrong += found.p < 0.05
    assert 0.02 < wrong / 400 < 0.085


def test_one_round_rests_on_the_runs_own_intervals_and_says_so() -> None:
    pair = pair_of(compare([a_side("a", [100.0]), a_side("b", [50.0])]))
    assert pair["metrics"]["ttft_ms.p95"]["verdict"] == "better"
    assert pair["metrics"]["ttft_ms.p95"]["effect"] is None
    assert any("from run to run" in remark for remark in pair["remarks"])
    without = pair["metrics"]["output_throughput_tok_s"]
    assert without["p"] is None and without["verdict"] == "not comparable"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profile": PROFILE | {"workload": {"max_tokens": 65}}}, "workload.max_tokens"),
        ({"profile": PROFILE | {"model": {"uri": "hf://a/c"}}}, "model.uri"),
        ({"runs": tuple(a_run(seed + 7, 100.0) for seed in range(3))}, "seeds"),
        ({"runs": tuple(a_run(seed, 100.0, simulated=True) for seed in range(3))}, "simulator"),
    ],
)
def test_what_may_not_be_compared_is_named(change: dict[str, Any], words: str) -> None:
    a, b = a_side("a", [100.0, 101.0, 99.0]), a_side("b", [50.0, 51.0, 49.0])
    other = Side(**{"name": b.name, "runs": b.runs, "profile": b.profile, **change})
    pair = pair_of(compare([a, other]))
    assert not pair["comparable"] and not pair["metrics"]
    assert any(words in text for text in pair["obstacles"])


def test_force_compares_and_the_obstacle_stays_named() -> None:
    a = a_side("a", [100.0, 101.0, 99.0])
    b = Side("b", a_side("b", [50.0, 51.0, 49.0]).runs, PROFILE | {"model": {"uri": "hf://x/y"}})
    pair = pair_of(compare([a, b], forced=True))
    assert pair["metrics"] and pair["forced"] and pair["obstacles"]
    named = pair_of(compare([a, b], subject=("model.uri",)))
    assert named["comparable"] and named["differs"] == {"model.uri": ["hf://a/b", "hf://x/y"]}


def test_longer_answers_make_whole_requests_incomparable_but_not_tokens() -> None:
    longer = {"ok": 100, "failed": 0, "prompt_tokens": 12_800, "output_tokens": 9_000}
    a = a_side("a", [100.0, 101.0, 99.0])
    b = a_side("b", [50.0, 51.0, 49.0], requests=longer)
    metrics = pair_of(compare([a, b]))["metrics"]
    assert metrics["e2e_latency_ms.p50"]["verdict"] == "not comparable"
    assert "ignore_eos" in metrics["e2e_latency_ms.p50"]["why"]
    assert metrics["ttft_ms.p95"]["verdict"] == "better"


def test_an_invalid_run_takes_its_round_out() -> None:
    bad = {"verdict": {"status": "invalid", "reasons": ["x"]}}
    a = a_side("a", [100.0, 101.0, 99.0, 100.0])
    runs = (a_run(0, 50.0, **bad), *(a_run(seed, 50.0 + seed / 10) for seed in (1, 2, 3)))
    pair = pair_of(compare([a, Side("b", runs, PROFILE)]))
    assert pair["rounds"] == 3
    assert any("left out" in remark for remark in pair["remarks"])


def test_holm_is_stepwise() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([100.0, 101.0, 99.0, 100.5, 99.5], "pass"),
        ([120.0, 121.0, 119.0, 120.5, 119.5], "fail"),
        ([80.0, 130.0, 100.0, 90.0, 118.0], "undecided"),
    ],
)
def test_a_gate_goes_by_the_interval(values: list[float], outcome: str) -> None:
    a = a_side("a", [100.0, 101.0, 99.0, 100.5, 99.5])
    pair = pair_of(compare([a, a_side("b", values)], gates=[read_gate("ttft_ms.p95:+5%")]))
    assert [gate["outcome"] for gate in pair["gates"]] == [outcome]


def test_a_gate_that_cannot_be_read_says_how_to_write_it() -> None:
    with pytest.raises(UsageError, match=r"METRIC:\+PERCENT%"):
        read_gate("ttft_ms.p95<5")
    with pytest.raises(UsageError, match="ttft_ms"):
        read_gate("ttft.p95:5%")


def test_rounds_take_turns_and_send_every_side_the_same_seed() -> None:
    profile = load_profile("cpu-smoke").profile
    experiment = Comparison(("a", "b"), 2, gates=(Gate("ttft_ms.p95", 5.0),))
    done: list[Finished] = []
    while (coming := experiment.next_round(profile, done)) is not None:
        done.append(Finished(coming, coming.name, {}))
    assert [(each.round.side, each.round.seed) for each in done] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1),
    ]  # fmt: skip
    assert comparison_of(experiment.settings()) == experiment


def test_backends_are_given_as_words_or_with_commas() -> None:
    want = ["--backends", "vllm", "--backends", "tgi", "--repeats", "3"]
    assert spread_lists(["--backends", "vllm", "tgi", "--repeats", "3"]) == want
    assert spread_lists(["--backends=vllm,tgi", "--repeats", "3"]) == want


def test_sides_of_values_and_of_profiles() -> None:
    varied = of_values("cpu-smoke", [], "engine.args.max_num_seqs=1,16")
    assert list(varied.sides) == ["max_num_seqs=1", "max_num_seqs=16"]
    seqs = [each.profile.engine.args["max_num_seqs"] for each in varied.sides.values()]
    assert seqs == [1, 16]
    both = of_values("standard", [], "profile=cpu-smoke,cpu-ngram")
    assert [each.profile.name for each in both.sides.values()] == ["cpu-smoke", "cpu-ngram"]


def test_backends_that_cannot_serve_a_profile_are_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nextends: standard\nengine:\n  args:\n    speculative_config:\n"
        "      {method: eagle3, model: hf://x/y, num_speculative_tokens: 3}\n"
    )
    with pytest.raises(UsageError, match="tgi cannot serve"):
        of_backends(str(file), [], ["vllm", "tgi"])
