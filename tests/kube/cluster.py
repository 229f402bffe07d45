"""A scripted KServe, scheduler and kubelet: it plays a scenario on fake time.

with ApiServer(now=clock.now) as server, Cluster(server, FAST, clock) as cluster:
    …                       # the program under test creates an InferenceService
    cluster.advance(60)     # or cluster.run(speed=1200) and let it go by itself
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from urllib.parse import urlsplit

from tests.kube import kubelet, workloads
from tests.kube.api_server import ApiServer
from tests.kube.clock import FakeClock
from tests.kube.errors import Object
from tests.kube.exposure import Exposure
from tests.kube.furniture import furnish
from tests.kube.happenings import Happening, record
from tests.kube.isvc_status import found_condition, invalid_status, service_status
from tests.kube.plane import Double, Plane
from tests.kube.predictor import Unsupported, deployment_of, runtime_of, service_of
from tests.kube.schedule import Schedule
from tests.kube.timeline import Scenario, Step

SERVICES = "inferenceservices.serving.kserve.io"
DEPLOYMENTS = "deployments.apps"
FINALIZER = "inferenceservice.finalizers"
STOP = "serving.kserve.io/stop"
OF = "serving.kserve.io/inferenceservice"
DELAY_S = 0.1
TERMINATION_S = 2.0
Place = tuple[str, str]


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
        self.controller_runs = True
        self.exposure = Exposure(server, self.plane, self.schedule)
        self._pods: dict[Place, int] = {}
        self._waiting: set[Place] = set()
        self._refused: dict[Place, str] = {}
        self._invalid: dict[Place, Unsupported] = {}
        server.collector.graceful = True
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

    def script_of(self, name: str) -> Scenario:
        return self.scripts.get(name, self.scenario)

    def _saw(self, change: str, kind: str, item: Object) -> None:
        """Called for every commit; only notes what to do a little later."""
        namespace = item["metadata"].get("namespace", "")
        name = item["metadata"]["name"]
        if kind == SERVICES:
            self._saw_service(change, namespace, name)
        elif kind == "services" and change != "DELETED":
            self.schedule.after(DELAY_S, lambda: self.exposure.expose(item))
        elif kind in ("pods", DEPLOYMENTS):
            owner = (item["metadata"].get("labels") or {}).get(OF)
            if kind == "pods" and owner:
                self._saw_pod(change, item, owner)
            if owner:
                self._reconcile_soon(namespace, owner)

    def _saw_service(self, change: str, namespace: str, name: str) -> None:
        if change == "ADDED":
            for step in self.script_of(name).service:
                self._later_on_service(namespace, name, step)
            self._refused[namespace, name] = self.script_of(name).refused_pods
            self._pods[namespace, name] = 0
            self._invalid.pop((namespace, name), None)
        if change != "DELETED":
            self._reconcile_soon(namespace, name)

    def _saw_pod(self, change: str, pod: Object, owner: str) -> None:
        place = (pod["metadata"]["namespace"], owner)
        if change == "ADDED":
            self.exposure.pod_added(pod, owner)
            index = self._pods.get(place, 0)
            self._pods[place] = index + 1
            timelines = self.script_of(owner).pods
            if timelines:
                for step in timelines[min(index, len(timelines) - 1)]:
                    self._later_on_pod(pod, step)
        elif change == "MODIFIED" and "deletionTimestamp" in pod["metadata"]:
            self.schedule.after(TERMINATION_S, lambda: self.plane.delete("pods", pod, 0))
        elif change == "DELETED":
            self.server.logs.forget(place[0], pod["metadata"]["name"])

    def _later_on_pod(self, pod: Object, step: Step) -> None:
        self.schedule.after(step.at_s, lambda: kubelet.play(self.plane, pod, step))

    def _later_on_service(self, namespace: str, name: str, step: Step) -> None:
        self.schedule.after(step.at_s, lambda: self.do(step, name, namespace))

    def do(self, step: Step, name: str, namespace: str = "bench") -> None:
        """Carry out one step on an InferenceService now."""
        place = (namespace, name)
        service = self.plane.find(SERVICES, namespace, name)
        deployment = self.plane.find(DEPLOYMENTS, namespace, f"{name}-predictor")
        if step.do == "controller_down":
            self.controller_runs = False
        elif step.do == "controller_up":
            self.controller_runs = True
            self._reconcile_soon(namespace, name)
        elif step.do == "invalid":
            self._invalid[place] = Unsupported(step.reason, step.text)
            self._reconcile_soon(namespace, name)
        elif step.do == "deleted" and service is not None:
            self.plane.delete(SERVICES, service)
        elif step.do == "admitted":
            self._refused[place] = ""
            self._reconcile_soon(namespace, name)
        elif deployment is not None:
            self._on_deployment(step, deployment)

    def _on_deployment(self, step: Step, deployment: Object) -> None:
        after = copy.deepcopy(deployment)
        if step.do == "scaled":
            after["spec"]["replicas"] = step.number
        elif step.do == "rolling_restart":
            template = after["spec"]["template"]["metadata"]
            restarted = {"kubectl.kubernetes.io/restartedAt": self.plane.timestamp()}
            template["annotations"] = {**template.get("annotations", {}), **restarted}
        elif step.do in kubelet.WORDS or step.do == "pod_deleted":
            self._on_first_pod(step, deployment)
            return
        else:
            raise ValueError(f"no such step on a service: {step.do}")
        self.plane.change(DEPLOYMENTS, deployment, after)

    def _on_first_pod(self, step: Step, deployment: Object) -> None:
        pods = workloads.matching_pods(self.plane, deployment)
        if pods:
            word = "deleted" if step.do == "pod_deleted" else step.do
            kubelet.play(self.plane, pods[0], replace(step, do=word))

    def _reconcile_soon(self, namespace: str, name: str) -> None:
        place = (namespace, name)
        if place not in self._waiting:
            self._waiting.add(place)
            self.schedule.after(DELAY_S, lambda: self._reconcile(place))

    def _reconcile(self, place: Place) -> None:
        self._waiting.discard(place)
        service = self.plane.find(SERVICES, *place)
        deployment = self.plane.find(DEPLOYMENTS, place[0], f"{place[1]}-predictor")
        if deployment is not None and "deletionTimestamp" not in deployment["metadata"]:
            refused = self._refused.get(place, "")
            workloads.reconcile_deployment(self.plane, deployment, refused)
        if service is None or not self.controller_runs:
            return
        finalizers = service["metadata"].get("finalizers") or []
        if "deletionTimestamp" in service["metadata"]:
            if FINALIZER in finalizers:
                self._finalizers(service, [each for each in finalizers if each != FINALIZER])
            return
        if FINALIZER not in finalizers:
            service = self._finalizers(service, [*finalizers, FINALIZER])
        try:
            if place in self._invalid:
                raise self._invalid[place]
            self._serve(service)
        except Unsupported as why:
            status = invalid_status(service, why, self.plane.timestamp())
            old = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
            if old.get("reason") != why.reason:
                self._write_status(service, status)
                said = f"fails to reconcile predictor: {why}"
                record(self.plane, service, Happening("InternalError", said, "Warning", KSERVE))

    def _finalizers(self, service: Object, finalizers: list[str]) -> Object:
        metadata = {**service["metadata"], "finalizers": finalizers}
        return self.plane.change(SERVICES, service, {**service, "metadata": metadata})

    def _serve(self, service: Object) -> None:
        """Bring Deployment, Service and status in line with the spec."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        stopped = (service["metadata"].get("annotations") or {}).get(STOP) == "true"
        child = f"{name}-predictor"
        deployment = self.plane.find(DEPLOYMENTS, namespace, child)
        network = self.plane.find("services", namespace, child)
        if stopped:
            for kind, each in ((DEPLOYMENTS, deployment), ("services", network)):
                if each is not None and "deletionTimestamp" not in each["metadata"]:
                    self.plane.delete(kind, each)
            deployment = None
        else:
            wanted = deployment_of(service, runtime_of(self.plane, service))
            if deployment is None:
                deployment = self.plane.create(wanted)
                deadline = workloads.deadline_s(deployment) + 1
                place = (namespace, name)
                self.schedule.after(deadline, lambda: self._reconcile(place))
            if network is None:
                self.plane.create(service_of(service, wanted))
        pods = workloads.matching_pods(self.plane, deployment) if deployment else []
        now = self.plane.timestamp()
        self._write_status(service, service_status(service, deployment, pods, stopped, now))

    def _write_status(self, service: Object, status: Object) -> None:
        before = found_condition(service, "Ready").get("status")
        after = {**service, "status": status}
        written = self.plane.change(SERVICES, service, after)
        now, name = found_condition(written, "Ready"), service["metadata"]["name"]
        if before != "True" and now.get("status") == "True":
            said = f"InferenceService [{name}] is Ready"
            record(self.plane, written, Happening("InferenceServiceReady", said, "Normal", KSERVE))
        elif before == "True" and now.get("status") != "True":
            why = now.get("reason", "")
            said = f"InferenceService [{name}] is no longer Ready because of: {why}"
            lost = Happening("InferenceServiceNotReady", said, "Warning", KSERVE)
            record(self.plane, written, lost)


KSERVE = "v1beta1Controllers"
