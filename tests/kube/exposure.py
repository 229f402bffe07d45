"""How a pod's real endpoint is reached: port-forward, node ports and load balancers."""

import itertools
import random

from tests.kube.api_server import ApiServer
from tests.kube.errors import Object
from tests.kube.happenings import Happening, record
from tests.kube.isvc_status import found_condition
from tests.kube.plane import Plane
from tests.kube.portforward import Address
from tests.kube.relay import Relay, on_a_free_node_port
from tests.kube.schedule import Schedule

OF = "serving.kserve.io/inferenceservice"


class Exposure:
    """Addresses of bound InferenceServices. Nothing answers at the ports of unbound ones.

    A LoadBalancer gets an address of 127.0.0.0/8 of its own, at which its ports listen.
    """

    def __init__(self, server: ApiServer, plane: Plane, schedule: Schedule) -> None:
        self._server = server
        self._plane = plane
        self._schedule = schedule
        self._bound: dict[tuple[str, str], Address] = {}
        self._relays: dict[tuple[str, int], Relay] = {}
        self._addresses = (
            f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{last}"
            for last in itertools.cycle(range(1, 255))
        )

    def bind(self, namespace: str, service: str, address: Address) -> None:
        self._bound[namespace, service] = address
        for pod in self._plane.all("pods", namespace):
            if (pod["metadata"].get("labels") or {}).get(OF) == service:
                self.pod_added(pod, service)

    def pod_added(self, pod: Object, owner: str) -> None:
        namespace = pod["metadata"]["namespace"]
        if (namespace, owner) in self._bound:
            address = self._bound[namespace, owner]
            self._server.forwards[namespace, pod["metadata"]["name"], 0] = address

    def expose(self, service: Object) -> None:
        """Listen at the node ports and the load balancer of a Service that asks for them."""
        held = self._plane.find(
            "services", service["metadata"]["namespace"], service["metadata"]["name"]
        )
        kind = (held or {}).get("spec", {}).get("type")
        if held is None or kind not in ("NodePort", "LoadBalancer"):
            return
        ports = [dict(port) for port in held["spec"]["ports"]]
        for port in ports:
            place = (held["metadata"]["uid"], port["nodePort"])
            if place not in self._relays:
                relay = on_a_free_node_port(lambda: self._ready_pod(held), port["nodePort"])
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
                relay = Relay((address, port["port"]), lambda: self._ready_pod(service))
                self._relays[service["metadata"]["uid"], -port["port"]] = relay
        except OSError as failure:
            said = f"Error syncing load balancer: failed to ensure load balancer: {failure}"
            failed = Happening("SyncLoadBalancerFailed", said, "Warning", "service-controller")
            record(self._plane, service, failed)
            return []
        return [{"ip": address, "ipMode": "VIP"}]

    def _ready_pod(self, service: Object) -> Address | None:
        """The address behind any ready pod of the selector."""
        namespace = service["metadata"]["namespace"]
        wanted = (service["spec"].get("selector") or {}).items()
        for pod in self._plane.all("pods", namespace):
            labels = pod["metadata"].get("labels") or {}
            ready = found_condition(pod, "Ready").get("status") == "True"
            if wanted <= labels.items() and ready:
                return self._bound.get((namespace, labels.get(OF, "")))
        return None

    def close(self) -> None:
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()
