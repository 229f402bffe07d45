"""Where the engine's metrics are read."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runners.cluster.api import Connection, Object
from runners.cluster.forward import forwarded
from runners.cluster.seen import engine_container, name_of
from runners.cluster.session import Started
from runners.targets.trust import trusted

_TIMEOUT_S = 5.0
_PATHS = ("/metrics", "/prometheus/metrics")


@contextmanager
def metrics_urls(
    connection: Connection, started: Started, ca_cert: Path | None
) -> Iterator[tuple[str, ...]]:
    """One address per pod that answers in Prometheus' format, open with the context.

    With one pod it is the way of the requests; with several, and through a gateway, each pod
    itself: by its address inside of the cluster, by a port-forward outside. Empty unless all
    pods answer: the counters of some would not be those of the load.
    """
    with ExitStack() as stack:
        found = [_of_pod(connection, started, pod, stack, ca_cert) for pod in started.pods]
        yield tuple(url for url in found if url) if all(found) else ()


def _of_pod(
    connection: Connection, started: Started, pod: Object, stack: ExitStack, ca_cert: Path | None
) -> str | None:
    for base in _bases(connection, started, pod, stack):
        found = next((base + path for path in _PATHS if _serves(base + path, ca_cert)), None)
        if found is not None:
            return found
    return None


def _bases(
    connection: Connection, started: Started, pod: Object, stack: ExitStack
) -> Iterator[str]:
    port, alone = port_of(pod), len(started.pods) == 1
    if connection.in_cluster and (address := (pod.get("status") or {}).get("podIP")):
        yield f"http://{f'[{address}]' if ':' in address else address}:{port}"
    if alone and started.route.way != "gateway":
        yield started.route.base_url
    if not connection.in_cluster and not (alone and started.route.way == "port-forward"):
        yield f"http://127.0.0.1:{stack.enter_context(forwarded(connection, name_of(pod), port))}"


def port_of(pod: Object) -> int:
    """Where the pod says that its metrics are, else where its engine listens."""
    told = (pod["metadata"].get("annotations") or {}).get("prometheus.kserve.io/port")
    if told and str(told).isdecimal():
        return int(told)
    ports = (engine_container(pod) or {}).get("ports") or [{"containerPort": 8080}]
    return int(ports[0]["containerPort"])


def _serves(url: str, ca_cert: Path | None) -> bool:
    import httpx

    try:
        answer = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False, verify=trusted(ca_cert))
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and "# TYPE " in answer.text
