"""Ways to a model: the best for measuring first, and what each needs."""

import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runners.cluster.existing import found
from runners.cluster.reach import may_port_forward
from runners.errors import Exit, TargetError
from runners.profiles.load import Loaded
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.render import render
from runners.run import run as run_profile
from runners.rundir import RunDirectory
from runners.simulator.process import Running
from runners.targets import TargetOptions
from tests.cluster.conftest import MakeCluster, Playground
from tests.cluster.test_run_on_cluster import QUICK
from tests.kube import stories

MakeProfile = Callable[..., Profile]


def deployed_by_somebody(playground: Playground, profile: Profile) -> None:
    """With a route from outside, which ours do not have."""
    for manifest in render(profile).values():
        metadata = {"name": manifest["metadata"]["name"], "namespace": "bench"}
        playground.server.add({**manifest, "metadata": metadata})


@contextmanager
def gateway(behind: str) -> Iterator[tuple[str, int, list[bytes]]]:
    """Host, port and the Host headers of all that went through to the server behind it."""
    server = urlsplit(behind)
    hosts: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((server.hostname or "", server.port or 80)) as away:
                back = threading.Thread(target=carry, args=(away, self.request), daemon=True)
                back.start()
                while data := self.request.recv(65536):
                    hosts.extend(re.findall(rb"(?im)^host: ([^\r]*)\r$", data))
                    away.sendall(data)

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield "127.0.0.1", listening.server_address[1], hosts
        listening.shutdown()


def test_a_gateway_is_asked_with_the_services_name(
    make_cluster: MakeCluster,
    kserve_profile: MakeProfile,
    simulator: Callable[..., Running],
    tmp_path: Path,
) -> None:
    """Its name resolves nowhere; every request carries it as Host, the load's too."""
    playground = make_cluster(QUICK, speed=1.0, extras=("gateway",))
    deployed_by_somebody(playground, kserve_profile())
    model = simulator(model="tiny", ttft_ms=5, itl_ms=2)
    profile = kserve_profile(
        load={"concurrency": 2, "duration_s": 2},
        workload={"input_tokens": 16, "max_tokens": 8},
        serving={"existing": "llama", "connect": "gateway"},
    )
    loaded = Loaded(profile, profile.model_dump(mode="json"), (), tmp_path / "profile.yaml")
    with gateway(model.base_url) as (host, port, hosts):
        playground.server.add(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "kserve-ingress-gateway", "namespace": "kserve"},
                "spec": {
                    "gatewayClassName": "envoy",
                    "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}],
                },
                "status": {"addresses": [{"type": "IPAddress", "value": host}]},
            }
        )
        outcome = run_profile(loaded, tmp_path / "out", TargetOptions(), Progress(quiet=True))
    assert outcome.error is None and outcome.results is not None
    assert outcome.exit_code == Exit.DONE, outcome.results["verdict"]
    environment = outcome.run.read_json("environment.json")
    assert environment["base_url"] == f"http://{host}:{port}"
    assert environment["engine"]["facts"]["route"] == "gateway"
    assert set(hosts) == {b"llama-bench.example.com"}
    assert len(hosts) > outcome.results["requests"]["ok"] > 0


def test_every_way_that_was_tried_is_told(
    make_cluster: MakeCluster, kserve_profile: MakeProfile, run: RunDirectory
) -> None:
    """Nothing listens behind the pods."""
    playground = make_cluster(stories.FAST)
    deployed_by_somebody(playground, kserve_profile())
    playground.clock.sleep(35)
    profile = kserve_profile(serving={"existing": "llama"})
    with (
        pytest.raises(TargetError) as failed,
        found(playground.connection(), profile, run, Progress(quiet=True), TargetOptions()),
    ):
        pass
    said = str(failed.value)
    assert "llama-predictor.bench.svc.cluster.local (in-cluster)" in said
    assert "llama-bench.example.com (gateway)" in said
    assert "(port-forward)" in said


@pytest.mark.parametrize(
    ("load", "may"),
    [
        ({"concurrency": 4, "requests": 10}, True),
        ({"concurrency": 5, "requests": 10}, False),
        ({"rate": 1.0, "duration_s": 10}, True),
        ({"rate": 2.0, "duration_s": 10}, False),
        ({"stages": [{"rate": 1.0, "duration_s": 10}]}, False),
    ],
)
def test_a_port_forward_carries_smoke_loads_only(
    load: dict[str, object], may: bool, kserve_profile: MakeProfile
) -> None:
    assert may_port_forward(kserve_profile(load=load)) is may
    allowed = kserve_profile(load=load, serving={"allow_port_forward": True})
    assert may_port_forward(allowed)
