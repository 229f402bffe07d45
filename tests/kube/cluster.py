"""A scripted KServe, scheduler and kubelet: it plays a scenario on fake time.

with ApiServer(now=clock.now) as server, Cluster(server, FAST, clock) as cluster:
    …                       # the program under test creates an InferenceService
    cluster.advance(60)     # or cluster.run(speed=1200) and let it go by itself
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType
from urllib.parse import urlsplit

from tests.kube import kubelet, workloads
from tests.kube.api_server import ApiServer
from tests.kube.clock import FakeClock
from tests.kube.errors import Object
from tests.kube.exposure import Exposure
from tests.kube.furniture import furnish
from tests.kube.kserve import (
    DEPLOYMENTS,
    LLMS,
    SERVICES,
    Controllers,
    Place,
    deployments_of,
    owner_of,
)
from tests.kube.plane import Double, Plane
from tests.kube.predictor import Unsupported
from tests.kube.schedule import Schedule
from tests.kube.timeline import Scenario, Step
from tests.kube.webhooks import Webhooks

DELAY_S = 0.1
TERMINATION_S = 2.0


class Cluster:
    """scenario: of every InferenceService; `scripts[name]` overrides it for one."""

    def __init__(
        self, server: ApiServer, scenario: Scenario, clock: FakeClock, furnished: bool = True
    ) -> None:
        self.plane: Plane = Double(server)
        self.server = server
        self.clock = clock
        self.schedule = Schedule(clock)
        self.scenario = scenario
        self.scripts: dict[str, Scenario] = {}
        self.controllers = Controllers(self.plane, self._look_again)
        self.exposure = Exposure(self.plane, self.schedule, self.controllers)
        self.webhooks = Webhooks()
        server.writer.hooks.append(self.webhooks.admit)
        self._pods: dict[Place, int] = {}
        self._waiting: set[Place] = set()
        self._refused: dict[Place, str] = {}
        self._ending: set[str] = set()
        if furnished:
            furnish(self.plane, scenario)
        self.plane.listen(self._saw)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def advance(self, seconds: float) -> None:
        """Play that many fake seconds now, in this thread."""
        self.schedule.advance(seconds)

    def run(self, speed: float = 1200.0) -> None:
        """Play from now on, that many fake seconds per real second."""
        self.schedule.run(speed)

    def stop(self) -> None:
        """Raises RuntimeError when a scripted action failed."""
        self.exposure.close()
        self.schedule.stop()

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Anything else that has to happen, that many fake seconds from now."""
        self.schedule.after(seconds, action)

    def bind(self, service: str, url: str, namespace: str = "bench") -> None:
        """Pods of that InferenceService answer as the local server at `url`."""
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.exposure.bind(namespace, service, address)

    def open_gateway(self) -> str:
        """Open an ingress gateway and return its URL; requests need a service's Host header.

        Where Gateway API is served (extras=("gateway",)) a Gateway object names it. A Knative
        service that is scaled to zero wakes up by a request, which waits for it.
        """
        return self.exposure.open_gateway()

    def script_of(self, name: str) -> Scenario:
        return self.scripts.get(name, self.scenario)

    def _saw(self, change: str, kind: str, item: Object) -> None:
        """Called for every commit; only notes what to do a little later."""
        if kind in (SERVICES, LLMS):
            place = (kind, item["metadata"]["namespace"], item["metadata"]["name"])
            self._saw_service(change, place)
        elif kind == "services" and change != "DELETED":
            self.schedule.after(DELAY_S, lambda: self.exposure.expose(item))
        elif kind in ("pods", DEPLOYMENTS):
            owner = owner_of(item)
            if kind == "pods":
                self._saw_pod(change, item, owner)
            if owner is not None:
                self._reconcile_soon(owner)

    def _saw_service(self, change: str, place: Place) -> None:
        if change == "ADDED":
            script = self.script_of(place[2])
            for step in script.service:
                self._later(step.at_s, partial(self.do, step, place[2], place[1]))
            self._refused[place] = script.refused_pods
            self._pods[place] = 0
            self.controllers.invalid.pop(place, None)
        if change != "DELETED":
            self._reconcile_soon(place)

    def _saw_pod(self, change: str, pod: Object, owner: Place | None) -> None:
        if change == "ADDED" and owner is not None:
            self.exposure.pod_added(pod, owner)
            index = self._pods.get(owner, 0)
            self._pods[owner] = index + 1
            timelines = self.script_of(owner[2]).pods
            if timelines:
                for step in timelines[min(index, len(timelines) - 1)]:
                    self._later(step.at_s, partial(kubelet.play, self.plane, pod, step))
        elif change == "MODIFIED" and self._begins_to_end(pod):
            self._later(0.0, partial(kubelet.stopping, self.plane, pod))
            self._later(TERMINATION_S, partial(self.plane.delete, "pods", pod, 0))
        elif change == "DELETED":
            self.plane.forget_log(pod)

    def _begins_to_end(self, pod: Object) -> bool:
        """Whether this is the first news of its deletion."""
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" not in pod["metadata"] or uid in self._ending:
            return False
        self._ending.add(uid)
        return True

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.schedule.after(seconds, lambda: (action(), None)[1])

    def place_of(self, name: str, namespace: str) -> Place:
        """Of the InferenceService or the LLMInferenceService of that name."""
        if self.plane.serves(LLMS) and self.plane.find(LLMS, namespace, name) is not None:
            return LLMS, namespace, name
        return SERVICES, namespace, name

    def do(self, step: Step, name: str, namespace: str = "bench") -> None:
        """Carry out one step on a service now."""
        place = self.place_of(name, namespace)
        service = self.plane.find(*place)
        if step.do == "controller_down":
            self.controllers.running = False
        elif step.do == "controller_up":
            self.controllers.running = True
        elif step.do == "invalid":
            self.controllers.invalid[place] = Unsupported(step.reason, step.text)
        elif step.do == "admitted":
            self._refused[place] = ""
        elif step.do == "deleted":
            if service is not None:
                self.plane.delete(place[0], service)
        else:
            for deployment in deployments_of(self.plane, place)[:1]:
                self._on_deployment(step, deployment)
        self._reconcile_soon(place)

    def _on_deployment(self, step: Step, deployment: Object) -> None:
        if step.do == "scaled":
            self.controllers.scale(deployment, step.number)
        elif step.do == "rolling_restart":
            after = copy.deepcopy(deployment)
            template = after["spec"]["template"]["metadata"]
            restarted = {"kubectl.kubernetes.io/restartedAt": self.plane.timestamp()}
            template["annotations"] = {**template.get("annotations", {}), **restarted}
            self.plane.change(DEPLOYMENTS, deployment, after)
        elif step.do in kubelet.WORDS or step.do == "pod_deleted":
            word = "deleted" if step.do == "pod_deleted" else step.do
            for pod in workloads.matching_pods(self.plane, deployment)[:1]:
                kubelet.play(self.plane, pod, replace(step, do=word))
        else:
            raise ValueError(f"no such step on a service: {step.do}")

    def _reconcile_soon(self, place: Place) -> None:
        if place not in self._waiting:
            self._waiting.add(place)
            self.schedule.after(DELAY_S, lambda: self._reconcile(place))

    def _look_again(self, seconds: float, place: Place) -> None:
        self.schedule.after(seconds, lambda: self._reconcile(place))

    def _reconcile(self, place: Place) -> None:
        self._waiting.discard(place)
        for deployment in deployments_of(self.plane, place):
            refused = self._refused.get(place, "")
            workloads.reconcile_deployment(self.plane, deployment, refused)
        self.controllers.reconcile(place)
        self.exposure.idle(place)
