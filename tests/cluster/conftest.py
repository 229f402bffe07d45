"""A scripted cluster for each test, and the connection to it that the toolkit makes itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runners.cluster.api import Connection
from runners.cluster.clock import Clock
from runners.cluster.connect import connect
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from tests.kube.api_server import ApiServer
from tests.kube.clock import FakeClock
from tests.kube.cluster import Cluster
from tests.kube.timeline import Scenario

CREATED = (
    "inferenceservices.serving.kserve.io",
    "servingruntimes.serving.kserve.io",
    "deployments.apps",
    "replicasets.apps",
    "pods",
    "services",
    "configmaps",
)
MakeCluster = Callable[..., "Playground"]


class Playground:
    """A scripted cluster that runs, and a connection whose clock is the cluster's."""

    def __init__(self, server: ApiServer, cluster: Cluster, clock: FakeClock, kubeconfig: Path):
        self.server, self.cluster, self.clock, self.kubeconfig = server, cluster, clock, kubeconfig
        self.connections: list[Connection] = []

    def connection(self, namespace: str | None = None) -> Connection:
        clock = Clock(now=self.clock.now, unix=self.clock.now, sleep=self.clock.sleep)
        self.connections.append(replace(connect(None, namespace), clock=clock))
        return self.connections[-1]

    def left(self) -> list[str]:
        """What a run could have created and is there, in the namespace bench."""
        return [f"{kind}/{name}" for kind in CREATED for name in self.names(kind)]

    def close(self) -> None:
        for each in self.connections:
            each.close()

    def names(self, full_name: str, namespace: str = "bench") -> list[str]:
        return [each["metadata"]["name"] for each in self.server.all(full_name, namespace)]


@pytest.fixture
def make_cluster(
    api_server: Callable[..., ApiServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeCluster]:
    """A cluster that plays `scenario` at `speed` fake seconds per real one."""
    with ExitStack() as running:

        def make(scenario: Scenario, speed: float = 20.0, **keywords: Any) -> Playground:
            clock = FakeClock()
            server = api_server(now=clock.now, **keywords)
            cluster = running.enter_context(Cluster(server, scenario, clock))
            kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
            cluster.run(speed)
            playground = Playground(server, cluster, clock, kubeconfig)
            running.callback(playground.close)
            return playground

        yield make


@pytest.fixture
def kserve_profile() -> Callable[..., Profile]:
    def make(**changes: Any) -> Profile:
        data: dict[str, Any] = {
            "name": "standard",
            "target": "kserve",
            "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct", "name": "tiny"},
            "load": {"concurrency": 1, "requests": 4},
        }
        serving = {"service": "llama", "startup_timeout_s": 1800, **changes.pop("serving", {})}
        return Profile.model_validate({**data, "serving": serving, **changes})

    return make


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "standard")


@pytest.fixture
def progress() -> Progress:
    return Progress(quiet=True)
