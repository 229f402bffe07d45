"""How requests reach the model, the best way for measuring first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runners.cluster.api import ApiError, Connection, Object, find, listed, request
from runners.cluster.apply import apply, owner_of, refuse_foreign
from runners.cluster.connect import explained
from runners.cluster.forward import forwarded
from runners.cluster.seen import SERVICE_LABEL, engine_container, name_of
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.targets.trust import trusted

# A load that a port-forward carries without being the bottleneck.
SMOKE_CONCURRENCY = 4
SMOKE_RATE = 1.0
_PROBE_S = 5.0
_SETTLE_S = 20.0
# For a way that is only tried: as long as its address may need to come to life.
_BRIEFLY_S = {
    "in-cluster": 0.0,
    "load-balancer": 0.0,
    "node-port": 5.0,
    "gateway": 0.0,
    "port-forward": 2.0,
}
_LOAD_BALANCER_S = 180.0
_GATEWAY_SERVICES = (
    ("istio-system", "istio-ingressgateway"),
    ("kourier-system", "kourier"),
    ("envoy-gateway-system", "envoy-gateway"),
)
_V2_APIS = ("triton", "oip")


@dataclass(frozen=True)
class Route:
    """An address that answers. degraded: why figures measured over it are not to be trusted."""

    way: str
    base_url: str
    host_header: str | None = None
    degraded: str | None = None


@dataclass(frozen=True)
class Served:
    """What is to be reached: the service as it is in the cluster, and its ready pods.

    owned: ours, so that a Service of our own may be put before it, with these labels.
    """

    service: Object
    pods: Sequence[Object]
    owned: Object | None = None

    @property
    def port(self) -> int:
        """Where the engine listens in its pod."""
        ports = (engine_container(self.pods[0]) or {}).get("ports") or [{"containerPort": 8080}]
        return int(ports[0]["containerPort"])


Way = Callable[[Connection, Served, ExitStack], Iterator[Route]]


def reach(
    connection: Connection,
    served: Served,
    profile: Profile,
    stack: ExitStack,
    ca_cert: Path | None = None,
) -> Route:
    """The first route that answers; what it needs stays open as long as the stack.

    ca_cert: a PEM file to trust for https in place of the system's store.

    Raises TargetError where none does, or where only a port-forward would and the load is
    too much for it.
    """
    wanted = profile.serving.connect
    tried: list[str] = []
    for name, way in _ways(profile):
        with ExitStack() as attempt:
            try:
                routes = list(way(connection, served, attempt))
            except (ApiError, TargetError) as error:
                if isinstance(error, ApiError) and error.status == 401:
                    raise explained(error, connection, "look for a way to the model") from error
                tried.append(f"{name}: {error}")
                continue
            settle_s = _SETTLE_S if name == wanted or connection.in_cluster else _BRIEFLY_S[name]
            found = _first_that_answers(connection, routes, profile, ca_cert, settle_s)
            if isinstance(found, Route):
                stack.push(attempt.pop_all())
                return found
            tried += found
    told = "; ".join(tried) or "nothing to try"
    raise TargetError(
        f"the model is ready, but cannot be reached from here: {told}; run inside of the cluster, "
        "or choose a way with serving.connect"
    )


def _first_that_answers(
    connection: Connection,
    routes: Sequence[Route],
    profile: Profile,
    ca_cert: Path | None,
    settle_s: float,
) -> Route | list[str]:
    """The first route that leads to a model server; else why each does not.

    settle_s: routes and DNS take a moment to learn of a new service.
    """
    give_up = connection.clock.now() + settle_s
    while True:
        said = []
        for route in routes:
            why = _probe(route, profile, ca_cert)
            if why is None:
                return route
            said.append(f"{route.base_url} ({route.way}): {why}")
        if not routes or connection.clock.now() >= give_up:
            return said
        connection.clock.sleep(0.25)


def _ways(profile: Profile) -> list[tuple[str, Way]]:
    every: dict[str, Way] = {
        "in-cluster": _in_cluster,
        "load-balancer": _load_balancer,
        "node-port": _node_port,
        "gateway": _gateway,
        "port-forward": _port_forward,
    }
    wanted = profile.serving.connect
    chosen = dict(every) if wanted == "auto" else {wanted: every[wanted]}
    if wanted == "auto":
        chosen["load-balancer"] = _existing_load_balancer
    if "port-forward" in chosen and not may_port_forward(profile):
        chosen["port-forward"] = _refuse_port_forward
    return list(chosen.items())


def may_port_forward(profile: Profile) -> bool:
    """Whether the load is a smoke load, or the person said that they know."""
    load = profile.load
    if profile.serving.allow_port_forward:
        return True
    if load.stages or load.trace:
        return False
    if load.rate is not None:
        return load.rate <= SMOKE_RATE
    return (load.concurrency or 1) <= SMOKE_CONCURRENCY


def _probe(route: Route, profile: Profile, ca_cert: Path | None) -> str | None:
    import httpx

    path = "/v2/health/ready" if profile.workload.api in _V2_APIS else "/v1/models"
    headers = {"Host": route.host_header} if route.host_header else {}
    try:
        answer = httpx.get(
            route.base_url + path,
            headers=headers,
            timeout=_PROBE_S,
            trust_env=False,
            verify=trusted(ca_cert),
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    if answer.status_code in (404, 502, 503, 504):
        return f"HTTP {answer.status_code}"
    return None


def _in_cluster(connection: Connection, served: Served, stack: ExitStack) -> Iterator[Route]:
    """The address that KServe gives to those inside; a VPN may make it work outside too."""
    status = served.service.get("status") or {}
    found = [(status.get("address") or {}).get("url")]
    found += [each.get("url") for each in status.get("addresses") or ()]
    for url in dict.fromkeys(filter(None, found)):
        yield Route("in-cluster", str(url).rstrip("/"))


def _existing_load_balancer(
    connection: Connection, served: Served, stack: ExitStack
) -> Iterator[Route]:
    """Services of type LoadBalancer that somebody has put before the pods."""
    if not served.pods:
        return
    for service in _services_before(connection, served.pods[0]):
        if service["spec"].get("type") == "LoadBalancer":
            yield from _balanced(service, served)


def _load_balancer(connection: Connection, served: Served, stack: ExitStack) -> Iterator[Route]:
    found = list(_existing_load_balancer(connection, served, stack))
    yield from found
    if found or served.owned is None or not served.pods:
        return
    name = _own_service(connection, served, "LoadBalancer")["metadata"]["name"]
    give_up = connection.clock.now() + _LOAD_BALANCER_S
    while connection.clock.now() < give_up:
        service = find(connection, "Service", name)
        routes = list(_balanced(service, served)) if service else []
        if routes:
            yield from routes
            return
        connection.clock.sleep(1.0)
    raise TargetError(f"Service {name} got no address within {_LOAD_BALANCER_S:g} s")


def _balanced(service: Object, served: Served) -> Iterator[Route]:
    port = _port_to(service, served)
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for each in ingress:
        if port is not None and (host := each.get("ip") or each.get("hostname")):
            yield Route("load-balancer", f"http://{_bracketed(host)}:{port['port']}")


def _node_port(connection: Connection, served: Served, stack: ExitStack) -> Iterator[Route]:
    """A port of the nodes that run the pods; one of our own where there is none."""
    if not served.pods:
        return
    services = _services_before(connection, served.pods[0])
    ported = [each for each in services if each["spec"].get("type") in ("NodePort", "LoadBalancer")]
    if not ported and served.owned is not None:
        ported = [_own_service(connection, served, "NodePort")]
    for service in ported:
        port = (_port_to(service, served) or {}).get("nodePort")
        for host in _node_addresses(connection, served.pods) if port else ():
            yield Route("node-port", f"http://{_bracketed(host)}:{port}")


def _node_addresses(connection: Connection, pods: Sequence[Object]) -> list[str]:
    """Addresses of the nodes that run the pods, those for outside first."""
    host = [pod["status"]["hostIP"] for pod in pods if (pod.get("status") or {}).get("hostIP")]
    by_type: dict[str, list[str]] = {}
    for name in dict.fromkeys(pod["spec"].get("nodeName") for pod in pods):
        try:
            node = find(connection, "Node", name) if name else None
        except ApiError:
            break
        for each in ((node or {}).get("status") or {}).get("addresses") or ():
            by_type.setdefault(each.get("type", ""), []).append(each["address"])
    inside = by_type.get("InternalIP", [])
    return list(dict.fromkeys([*by_type.get("ExternalIP", []), *inside, *host]))


def _services_before(connection: Connection, pod: Object) -> list[Object]:
    """Services whose selector takes the pod."""
    labels = (pod["metadata"].get("labels") or {}).items()
    found = []
    for service in listed(connection, "Service"):
        selector = service["spec"].get("selector")
        if selector and selector.items() <= labels:
            found.append(service)
    return found


def _own_service(connection: Connection, served: Served, kind: str) -> Object:
    """Put a Service of ours before the pods; it carries the run's labels and goes with it."""
    assert served.owned is not None
    labels = served.pods[0]["metadata"].get("labels") or {}
    keys = (SERVICE_LABEL, "component", "app.kubernetes.io/name", "app.kubernetes.io/part-of")
    selector = {key: labels[key] for key in keys if key in labels}
    name = f"{name_of(served.service)}-bench"
    manifest: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**served.owned, "name": name},
        "spec": {
            "type": kind,
            "selector": selector,
            "ports": [{"name": "http", "port": 80, "targetPort": served.port}],
        },
    }
    refuse_foreign(connection, [manifest], owner_of(manifest) or "")
    return apply(connection, manifest)


def _port_to(service: Object, served: Served) -> Object | None:
    """The port of a Service that leads to the engine's."""
    container = engine_container(served.pods[0]) or {}
    names = {each.get("name") for each in container.get("ports") or ()} - {None}
    for each in service["spec"].get("ports") or ():
        target = each.get("targetPort", each["port"])
        if target == served.port or target in names:
            return dict(each)
    return None


def _gateway(connection: Connection, served: Served, stack: ExitStack) -> Iterator[Route]:
    """The service's own URL; where its name does not resolve, the gateway with a Host header."""
    url = str((served.service.get("status") or {}).get("url") or "").rstrip("/")
    host = urlsplit(url).hostname
    if not host or host.endswith(".svc.cluster.local"):
        return
    yield Route("gateway", url)
    for address in _gateway_addresses(connection):
        path = urlsplit(url).path
        yield Route("gateway", f"http://{address}{path}", host_header=host)


def _gateway_addresses(connection: Connection) -> Iterator[str]:
    """host:port of Gateways, then of the ingress Services that KServe is installed with."""
    try:
        found = request(connection, "get", "/apis/gateway.networking.k8s.io/v1/gateways")
    except ApiError:
        found = {}
    for gateway in found.get("items") or ():
        ports = [x["port"] for x in gateway["spec"].get("listeners", ()) if x["protocol"] == "HTTP"]
        for each in (gateway.get("status") or {}).get("addresses") or ():
            if ports:
                yield f"{_bracketed(each['value'])}:{ports[0]}"
    for namespace, name in _GATEWAY_SERVICES:
        try:
            service = find(connection, "Service", name, namespace=namespace)
        except ApiError:
            continue
        status = ((service or {}).get("status") or {}).get("loadBalancer") or {}
        for each in status.get("ingress") or ():
            if host := each.get("ip") or each.get("hostname"):
                yield f"{_bracketed(host)}:80"


def _bracketed(host: Any) -> str:
    return f"[{host}]" if ":" in str(host) else str(host)


def _port_forward(connection: Connection, served: Served, stack: ExitStack) -> Iterator[Route]:
    if not served.pods:
        return
    pod = name_of(served.pods[0])
    port = stack.enter_context(forwarded(connection, pod, served.port))
    reason = (
        f"requests went through a port-forward to pod {pod} (API server and kubelet), which adds "
        "latency of its own"
    )
    if len(served.pods) > 1:
        reason += f" and reaches one of {len(served.pods)} pods"
    yield replace(Route("port-forward", f"http://127.0.0.1:{port}"), degraded=reason)


def _refuse_port_forward(
    connection: Connection, served: Served, stack: ExitStack
) -> Iterator[Route]:
    raise TargetError(
        f"a port-forward would be measured itself: it is left to smoke loads (at most "
        f"{SMOKE_CONCURRENCY} in flight, or {SMOKE_RATE:g} request/s); --allow-port-forward "
        "uses it all the same and marks the run degraded"
    )
