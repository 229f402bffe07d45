"""Which round comes next, from the results of those before: no server is needed to tell."""

from typing import Any

import pytest

from runners.errors import UsageError
from runners.experiments.repeats import Precision, Repeats
from runners.experiments.rounds import Experiment, Finished
from runners.experiments.saturation import Saturation
from runners.experiments.summary import over_runs, verdict_of_runs
from runners.profiles.model import Profile


def profile(**load: Any) -> Profile:
    return Profile.model_validate({"name": "p", "model": {"uri": "hf://a/b"}, "load": load})


def results(value: float | None, status: str = "valid", *reasons: str) -> dict[str, Any]:
    stat = None if value is None else {"value": value, "low": None, "high": None}
    return {
        "verdict": {"status": status, "reasons": list(reasons)},
        "metrics": {"output_throughput_tok_s": stat, "ttft_ms": {"p50": stat}},
        "not_measured": {"output_throughput_tok_s": "nobody looked"},
    }


def play(
    experiment: Experiment, of: Profile, outcomes: list[dict[str, Any]]
) -> tuple[list[Finished], bool]:
    """Rounds with these outcomes, as long as the experiment asks for more; and if it is done."""
    finished: list[Finished] = []
    for outcome in outcomes:
        coming = experiment.next_round(of, finished)
        if coming is None:
            break
        finished.append(Finished(coming, f"run-{coming.index}", outcome))
    return finished, experiment.next_round(of, finished) is None


def test_repeats_fill_the_gap_that_a_lost_run_leaves() -> None:
    finished, done = play(Repeats(3), profile(seed=5), [results(1.0)] * 5)
    assert done and [each.round.seed for each in finished] == [5, 6, 7]
    coming = Repeats(3).next_round(profile(seed=5), [finished[0], finished[2]])
    assert coming is not None and coming.seed == 6


@pytest.mark.parametrize(
    ("values", "rounds"),
    [
        ([100.0, 100.0, 100.0], 3),
        # t / sqrt(n) is 2.48 for three rounds and 1.59 for four: ±6.3 %, then ±3.3 %
        ([98.0, 100.0, 103.0, 100.0, 100.0, 100.0], 4),
        ([50.0, 150.0, 50.0, 150.0, 50.0, 150.0], 6),
        ([0.0, 0.0, 0.0], 3),
    ],
)
def test_precision_is_looked_at_from_the_third_round_on(values: list[float], rounds: int) -> None:
    experiment = Repeats(6, Precision("ttft_ms.p50", 4.0))
    finished, done = play(experiment, profile(), [results(value) for value in values])
    assert done
    assert len(finished) == rounds


def test_invalid_runs_make_nothing_precise() -> None:
    experiment = Repeats(5, Precision("ttft_ms.p50", 50.0))
    outcomes = [results(1.0), results(1.0, "invalid"), results(1.0), results(1.0), results(1.0)]
    finished, done = play(experiment, profile(), outcomes)
    assert done and len(finished) == 4


def test_a_figure_that_is_never_measured_is_not_waited_for() -> None:
    experiment = Repeats(9, Precision("output_throughput_tok_s", 5.0))
    finished, done = play(experiment, profile(), [results(None)] * 9)
    assert done and len(finished) == 3
    conclusion = experiment.conclusion(profile(), finished)
    assert conclusion.facts["reached"] is False
    assert "nobody looked" in conclusion.text


def test_saturation_doubles_load_and_work_until_throughput_stays() -> None:
    of = profile(concurrency=3, requests=10, warmup={"requests": 6}, seed=2)
    outcomes = [results(value) for value in (10.0, 19.0, 30.0, 31.0, 60.0)]
    finished, done = play(Saturation(), of, outcomes)
    assert done and len(finished) == 4
    assert finished[2].round.varied == {
        "load.concurrency": 12, "load.requests": 40, "load.warmup.requests": 24,
    }  # fmt: skip
    assert finished[2].round.seed == 4
    conclusion = Saturation().conclusion(of, finished)
    assert conclusion.facts["knee"]["value"] == 12
    assert conclusion.facts["knee"]["run"] == "run-2"


def test_saturation_of_an_open_loop_doubles_the_rate() -> None:
    finished, _ = play(Saturation(), profile(rate=1.5, duration_s=10), [results(1.0)])
    coming = Saturation().next_round(profile(rate=1.5, duration_s=10), finished)
    assert coming is not None and coming.varied == {"load.rate": 3.0}


def test_an_invalid_step_ends_saturation_without_a_knee() -> None:
    outcomes = [results(10.0), results(20.0), results(40.0, "invalid", "too slow a client")]
    finished, done = play(Saturation(), profile(concurrency=1), outcomes)
    assert done
    conclusion = Saturation().conclusion(profile(concurrency=1), finished)
    assert conclusion.facts["knee"] is None
    assert conclusion.facts["highest_valid"]["value"] == 2


def test_a_knee_that_the_client_may_have_made_is_not_sold_as_the_servers() -> None:
    outcomes = [results(10.0), results(10.1, "degraded", "a load worker used 97 % of its core")]
    finished, _ = play(Saturation(), profile(concurrency=1), outcomes)
    assert "97 %" in Saturation().conclusion(profile(concurrency=1), finished).text


def test_a_trace_cannot_be_doubled() -> None:
    with pytest.raises(UsageError, match="trace"):
        Saturation().next_round(profile(trace={"file": "t.csv"}), [])


def test_means_leave_invalid_runs_out_and_say_what_is_missing() -> None:
    outcomes = [results(1.0), results(99.0, "invalid", "late: 7.5 ms"), results(3.0)]
    finished, _ = play(Repeats(3), profile(), outcomes)
    metrics, missing = over_runs(finished)
    stat = metrics["ttft_ms.p50"]
    assert (stat["mean"], stat["min"], stat["max"], stat["runs"]) == (2.0, 1.0, 3.0, 2)
    # Student's t with one degree of freedom: 12.706 times the standard error, which is 1.
    assert stat["high"] - stat["mean"] == pytest.approx(12.706, rel=1e-4)
    assert stat["cv"] == pytest.approx(2**0.5 / 2)
    assert metrics["tpot_ms.p50"] is None and "tpot_ms.p50" in missing


def test_the_groups_verdict_is_the_worst_and_counts_its_reasons() -> None:
    outcomes = [
        results(1.0, "degraded", "send lag p99 7.5 ms"),
        results(1.0),
        results(1.0, "degraded", "send lag p99 9 ms"),
    ]
    finished, _ = play(Repeats(3), profile(), outcomes)
    verdict = verdict_of_runs(finished)
    assert verdict["status"] == "degraded"
    assert verdict["runs"] == {"valid": 1, "degraded": 2, "invalid": 0}
    assert verdict["reasons"] == ["2 of 3 runs: e.g. send lag p99 7.5 ms"]
