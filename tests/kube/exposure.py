"""How a pod's real endpoint is reached: port-forward, node ports, load balancers, a gateway."""

import itertools
import random
from collections.abc import Callable
from contextlib import suppress

from tests.kube import knative
from tests.kube.errors import Object
from tests.kube.happenings import Happening, record
from tests.kube.isvc_status import found_condition
from tests.kube.kserve import SERVICES, Controllers, Place, deployments_of, owner_of
from tests.kube.plane import Plane
from tests.kube.portforward import Address
from tests.kube.relay import Relay, host_of, on_a_free_node_port
from tests.kube.schedule import Schedule

IDLE_S = 90.0
WAKING_REAL_S = 60.0
GATEWAYS = "gateways.gateway.networking.k8s.io"


class Exposure:
    """Addresses of bound services. Nothing answers at the ports of unbound ones.

    A LoadBalancer gets an address of 127.0.0.0/8 of its own, at which its ports listen.
    """

    def __init__(self, plane: Plane, schedule: Schedule, controllers: Controllers) -> None:
        self._plane = plane
        self._schedule = schedule
        self._controllers = controllers
        self._bound: dict[tuple[str, str], Address] = {}
        self._relays: dict[tuple[str, int], Relay] = {}
        self._used: dict[Place, float] = {}
        self._looking: set[Place] = set()
        self._addresses = (
            f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{last}"
            for last in itertools.cycle(range(1, 255))
        )

    def bind(self, namespace: str, service: str, address: Address) -> None:
        self._bound[namespace, service] = address
        for pod in self._plane.all("pods", namespace):
            owner = owner_of(pod)
            if owner is not None and owner[2] == service:
                self.pod_added(pod, owner)

    def pod_added(self, pod: Object, owner: Place) -> None:
        if owner[1:] in self._bound:
            self._plane.forward(pod, self._bound[owner[1:]])

    def expose(self, service: Object) -> None:
        """Listen at the node ports and the load balancer of a Service that asks for them."""
        held = self._plane.find(
            "services", service["metadata"]["namespace"], service["metadata"]["name"]
        )
        kind = (held or {}).get("spec", {}).get("type")
        if held is None or kind not in ("NodePort", "LoadBalancer"):
            return
        if not held["spec"].get("selector"):
            return
        ports = [dict(port) for port in held["spec"]["ports"]]
        for port in ports:
            place = (held["metadata"]["uid"], port["nodePort"])
            if place not in self._relays:
                relay = on_a_free_node_port(self._behind(held), port["nodePort"])
                port["nodePort"] = relay.address[1]
                self._relays[held["metadata"]["uid"], port["nodePort"]] = relay
        after = {**held, "spec": {**held["spec"], "ports": ports}}
        waits = not held.get("status", {}).get("loadBalancer", {}).get("ingress")
        if kind == "LoadBalancer" and waits:
            after["status"] = {"loadBalancer": {"ingress": self._balanced(held)}}
        self._plane.change("services", held, after)

    def _balanced(self, service: Object) -> list[Object]:
        address = next(self._addresses)
        try:
            for port in service["spec"]["ports"]:
                relay = Relay((address, port["port"]), self._behind(service))
                self._relays[service["metadata"]["uid"], -port["port"]] = relay
        except OSError as failure:
            said = f"Error syncing load balancer: failed to ensure load balancer: {failure}"
            failed = Happening("SyncLoadBalancerFailed", said, "Warning", "service-controller")
            record(self._plane, service, failed)
            return []
        return [{"ip": address, "ipMode": "VIP"}]

    def _behind(self, service: Object) -> Callable[[bytes], Address | None]:
        """The address behind any ready pod of the Service's selector."""
        namespace = service["metadata"]["namespace"]
        wanted = (service["spec"].get("selector") or {}).items()

        def target(head: bytes) -> Address | None:
            for pod in self._plane.all("pods", namespace):
                labels = pod["metadata"].get("labels") or {}
                owner = owner_of(pod)
                if wanted <= labels.items() and owner is not None and is_ready(pod):
                    return self._bound.get(owner[1:])
            return None

        return target

    def open_gateway(self) -> str:
        relay = Relay(("127.0.0.1", 0), self._by_host, reads_head=True)
        self._relays["gateway", relay.address[1]] = relay
        host, port = relay.address
        metadata: Object = {"name": "kserve-ingress-gateway", "namespace": "kserve"}
        if self._plane.serves(GATEWAYS):
            listener = {"name": "http", "port": port, "protocol": "HTTP"}
            self._plane.create(
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "Gateway",
                    "metadata": metadata,
                    "spec": {"gatewayClassName": "envoy", "listeners": [listener]},
                    "status": {"addresses": [{"type": "IPAddress", "value": host}]},
                }
            )
        return f"http://{host}:{port}"

    def _by_host(self, head: bytes) -> Address | None:
        """Where a gateway sends a request: to the service whose URL has that host."""
        host = host_of(head)
        for service in self._plane.all(SERVICES):
            url = service.get("status", {}).get("url", "")
            if url.partition("://")[2].rstrip("/") == host:
                namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
                place = (SERVICES, namespace, name)
                self._used[place] = self._plane.now()
                if knative.is_knative(service):
                    self._wake(place)
                ready = any(owner_of(p) == place and is_ready(p) for p in self._pods(place))
                return self._bound.get((namespace, name)) if ready else None
        return None

    def _pods(self, place: Place) -> list[Object]:
        return self._plane.all("pods", place[1])

    def _wake(self, place: Place) -> None:
        """The request waits until a pod is ready, as at Knative's activator."""
        for deployment in deployments_of(self._plane, place):
            if deployment["spec"]["replicas"] == 0:
                self._controllers.scale(deployment, 1)
        self._plane.wait_for(
            lambda: any(owner_of(p) == place and is_ready(p) for p in self._pods(place)),
            WAKING_REAL_S,
        )

    def idle(self, place: Place) -> None:
        """Scale a Knative service that may have no replicas to zero when nobody asks for it."""
        service = self._plane.find(*place)
        if service is None or place[0] != SERVICES or not knative.is_knative(service):
            return
        if service["spec"]["predictor"].get("minReplicas", 1) != 0 or place in self._looking:
            return
        if is_ready(service):
            self._used.setdefault(place, self._plane.now())
            self._looking.add(place)
            self._schedule.after(IDLE_S, lambda: self._to_zero(place))

    def _to_zero(self, place: Place) -> None:
        self._looking.discard(place)
        quiet_s = self._plane.now() - self._used.get(place, 0.0)
        for deployment in deployments_of(self._plane, place):
            if quiet_s >= IDLE_S and deployment["spec"]["replicas"]:
                self._controllers.scale(deployment, 0)
                return
        self.idle(place)

    def close(self) -> None:
        for relay in self._relays.values():
            with suppress(OSError):
                relay.close()
        self._relays.clear()


def is_ready(item: Object) -> bool:
    return (
        found_condition(item, "Ready").get("status") == "True"
        and "deletionTimestamp" not in item["metadata"]
    )
