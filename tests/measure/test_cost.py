"""What a run costs: the worked example of the documentation, and machines that change."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from runners.measure.cost import UNIT_COSTS, Bill, bill, cost_metric, cost_section
from runners.measure.machines import mig_share
from runners.measure.records import Recorded, read_run
from runners.measure.window import Window
from runners.profiles.error import ProfileError
from runners.profiles.load import load_profile
from runners.rundir import RunDirectory

DOCS = Path(__file__).parents[2] / "docs" / "cost.md"
WriteRun = Callable[..., RunDirectory]
Request = Callable[..., dict[str, Any]]
T0_S = 1_800_000_000


def block(first_line: str) -> dict[str, Any]:
    """A YAML block of docs/cost.md by its first line."""
    text = DOCS.read_text(encoding="utf-8")
    found = re.search(rf"```yaml\n# {first_line}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return dict(yaml.safe_load(found[1]))


def pod(name: str, node: str = "n1", **limits: str) -> dict[str, Any]:
    return {"name": name, "node": node, "limits": limits}


def window(seconds: float) -> Window:
    return Window(0, round(seconds * 1e9), "fixed", 0.0, "")


@pytest.fixture
def recorded(write_run: WriteRun, ok_request: Request) -> Callable[..., Recorded]:
    def make(
        pods: list[dict[str, Any]],
        changes: Sequence[tuple[float, str, str]] = (),
        busy_s: float = 600,
        labels: Mapping[str, str] = MappingProxyType({}),
        **profile: Any,
    ) -> Recorded:
        told = [{"unix_s": T0_S + at, "kind": kind, "text": text} for at, kind, text in changes]
        cluster = {"namespace": "bench", "pods": pods, "nodes": {"n1": dict(labels)}}
        run = write_run(
            [ok_request(0, 0, 10, busy_s * 1e3)],
            load={"t0_unix_ns": T0_S * 10**9},
            facts={"cluster": cluster, "disturbances": told},
            **profile,
        )
        return read_run(run)

    return make


def billed(run: Recorded, seconds: float = 600) -> Bill:
    found = bill(run, window(seconds))
    assert isinstance(found, Bill), found
    return found


def test_the_worked_example(recorded: Callable[..., Recorded]) -> None:
    given, expected = block("given"), block("found")
    gpus = {"nvidia.com/gpu": str(given["gpus_per_pod"])}
    run = recorded(
        [pod(f"llama-{i}", **gpus) for i in range(given["pods_at_start"])],
        [(given["pod_added_at_s"], "pod added", "pod llama-9 was added during the load")],
        busy_s=given["last_answer_at_s"],
        cost={key: value for key, value in given.items() if "price_per" in key},
    )
    measured = {key: value for key, value in given.items() if key.endswith(("tok_s", "req_s"))}
    measured["startup_s"] = {"value": given["startup_s"]}
    span = window(given["window_s"])
    paid = bill(run, span)
    for unit in UNIT_COSTS:
        measured[unit.name] = cost_metric(unit, run.profile.cost, paid, measured).metric
    section, missing = cost_section(run, span, paid, measured)
    assert section is not None and not missing
    month, even = section["per_month"], section["break_even"]
    found = {
        **measured,
        **section,
        "cost_per_month": month["cost"],
        "output_tokens_per_month": month["output_tokens"]["value"],
        "share_of_rate": even["share_of_rate"],
        "break_even_output_tok_s": even["output_tok_s"],
        "cheaper": even["cheaper"],
    }
    for key, value in expected.items():
        if isinstance(value, dict):
            assert {b: found[key][b] for b in value} == pytest.approx(value, rel=1e-4), key
        elif isinstance(value, str):
            assert found[key] == value
        else:
            assert found[key] == pytest.approx(value, rel=1e-4), key


def test_a_pod_that_went_is_paid_until_then(recorded: Callable[..., Recorded]) -> None:
    run = recorded(
        [pod("decode", **{"nvidia.com/gpu": "1"}), pod("prefill", **{"nvidia.com/gpu": "8"})],
        [(150, "pod lost", "pod prefill went away during the load"), (200, "restarted", "x")],
        cost={"price_per_gpu_hour": 1.0},
    )
    assert billed(run).per_hour == pytest.approx(1 + 8 * 0.25)
    assert billed(run).changes == 1
    assert billed(run).per_hour_at_start == 9.0


def test_slices_nodes_and_processors(recorded: Callable[..., Recorded]) -> None:
    product = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    slices = pod("a", **{"nvidia.com/mig-3g.40gb": "1", "cpu": "4", "memory": "16Gi"})
    run = recorded([slices], labels=product, cost={"price_per_gpu_hour": 3.0})
    assert billed(run).per_hour == pytest.approx(1.5)


def test_nodes_are_counted_once(recorded: Callable[..., Recorded]) -> None:
    pods = [pod("a", "n1"), pod("b", "n1"), pod("c", "n2")]
    assert billed(recorded(pods, cost={"price_per_node_hour": 2.0})).per_hour == 4.0


def test_processors_and_memory(recorded: Callable[..., Recorded]) -> None:
    cost = {"price_per_vcpu_hour": 0.04, "price_per_gib_hour": 0.005}
    run = recorded([pod("a", cpu="500m", memory="8Gi")], cost=cost)
    assert billed(run).per_hour == pytest.approx(0.02 + 0.04)


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ({"serving": {"autoscaling": {"autoscaler": "keda", "max_replicas": 4}}}, "replicas are"),
        ({"resources": {"gpu": {"mig": "1g.10gb"}}}, "resources.gpu.type"),
        ({"resources": {"gpu": {"type": "L4", "mig": "1g.10gb"}}}, "how many 1g.10gb fit on L4"),
        ({"resources": {"gpu": {"count": 0}}}, "price_per_node_hour"),
    ],
)
def test_what_is_not_known_is_not_guessed(
    recorded: Callable[..., Recorded], profile: dict[str, Any], reason: str
) -> None:
    run = recorded([], cost={"price_per_gpu_hour": 1.0}, **profile)
    assert reason in str(bill(run, window(600)))


@pytest.mark.parametrize(
    ("target", "serving", "gpus"),
    [
        ("kserve", {"replicas": 2, "nodes": 2}, 2 * 2 * 4),
        ("kserve", {"replicas": 2, "prefill": {"replicas": 3, "gpu": {"count": 1}}}, 2 * 4 + 3),
        ("local", {"replicas": 2}, 4),
    ],
)
def test_the_profile_tells_what_no_cluster_did(
    recorded: Callable[..., Recorded], target: str, serving: dict[str, Any], gpus: int
) -> None:
    asked = {"target": target, "resources": {"gpu": {"count": 4}}, "serving": serving}
    run = recorded([], cost={"price_per_gpu_hour": 1.0}, **asked)
    assert billed(run).per_hour == gpus


def test_a_slice_is_what_fits() -> None:
    assert mig_share("H100", "1g.10gb+me") == pytest.approx(1 / 7)


def test_an_api_may_be_cheaper_or_nobody_knows(recorded: Callable[..., Recorded]) -> None:
    cost = {"price_per_gpu_hour": 3.6, "api_price_per_million_output_tokens": 2.0}
    run = recorded([pod("a", **{"nvidia.com/gpu": "1"})], cost=cost)
    for low, high, cheaper in ((90, 110, "the API"), (300, 900, "not shown")):
        rate = {"value": (low + high) / 2, "low": low, "high": high}
        measured: dict[str, Any] = {"output_throughput_tok_s": rate}
        paid = bill(run, window(600))
        name = UNIT_COSTS[0].name
        measured[name] = cost_metric(UNIT_COSTS[0], run.profile.cost, paid, measured).metric
        section, _ = cost_section(run, window(600), paid, measured)
        assert section is not None
        assert section["break_even"]["cheaper"] == cheaper


def write_profile(folder: Path, **more: Any) -> Path:
    path = folder / "p.yaml"
    document = {"name": "p", "model": {"uri": "tiny://target"}, **more}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_a_price_is_chosen_by_name_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = write_profile(tmp_path, cost={"price": "aws-p5-capacity-block"})
    loaded = load_profile(shipped).profile.cost
    assert (loaded.price_per_gpu_hour, loaded.kind, loaded.date) == (4.916, "reserved", "2025-01")
    own = {"product": "H100", "offer": "ours", "currency": "EUR", "source": "us", "date": "2026-11"}
    row = {"name": "aws-p5-capacity-block", "price_per_gpu_hour": 2.0, **own}
    (tmp_path / "costs").mkdir()
    (tmp_path / "costs" / "ours.yaml").write_text(yaml.safe_dump({"prices": [row]}))
    monkeypatch.chdir(tmp_path)
    loaded = load_profile(shipped).profile.cost
    assert (loaded.price_per_gpu_hour, loaded.currency) == (2.0, "EUR")


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ({"price": "aws-p5"}, "aws-p5-capacity-block"),
        ({"price": "h200-hyperscaler"}, "range of prices"),
        ({"price": "aws-p5-capacity-block", "price_per_gpu_hour": 1.0}, "keep one of the two"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(
    tmp_path: Path, cost: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProfileError, match=said):
        load_profile(write_profile(tmp_path, cost=cost))


def test_a_limit_on_a_cost_needs_a_price(tmp_path: Path) -> None:
    limits = {"limits": {"cost_per_good_request": 0.01}}
    with pytest.raises(ProfileError, match="needs a price"):
        load_profile(write_profile(tmp_path, slo=limits))
    load_profile(write_profile(tmp_path, slo=limits, cost={"price_per_gpu_hour": 1.0}))
