"""A Kubernetes cluster with KServe for any test, in this process and on fake time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.kube.api_server import ApiServer
    from tests.kube.cluster import Cluster
    from tests.kube.timeline import Scenario


@pytest.fixture
def api_server(shared_dir: Path) -> Iterator[Callable[..., "ApiServer"]]:
    """`api_server(**keywords)`: a server with no controllers; keywords are ApiServer's."""
    from tests.kube.api_server import ApiServer

    with ExitStack() as running:

        def start(**keywords: Any) -> ApiServer:
            known = {"crds": shared_dir / "kserve-crds", **keywords}
            return running.enter_context(ApiServer(**known))

        yield start


@pytest.fixture
def kserve_cluster(shared_dir: Path) -> Iterator[Callable[..., "Cluster"]]:
    """`kserve_cluster(scenario, speed=0.0, **keywords)`: KServe that plays the scenario.

    speed 0: time passes by `cluster.advance(seconds)` only; keywords are ApiServer's.
    """
    from tests.kube.api_server import ApiServer
    from tests.kube.clock import FakeClock
    from tests.kube.cluster import Cluster

    with ExitStack() as running:

        def start(scenario: "Scenario", speed: float = 0.0, **keywords: Any) -> Cluster:
            clock = FakeClock()
            known = {"crds": shared_dir / "kserve-crds", "now": clock.now, **keywords}
            server = running.enter_context(ApiServer(**known))
            cluster = running.enter_context(Cluster(server, scenario, clock))
            if speed:
                cluster.run(speed)
            return cluster

        yield start
