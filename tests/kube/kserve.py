"""The scripted KServe controllers: what they create for a service, and the status they write."""

from collections.abc import Callable

from tests.kube import knative, llm, workloads
from tests.kube.errors import Object
from tests.kube.happenings import Happening, record
from tests.kube.isvc_status import found_condition, invalid_status, service_status
from tests.kube.plane import Plane
from tests.kube.predictor import Unsupported, deployment_of, runtime_of, service_of

SERVICES = "inferenceservices.serving.kserve.io"
LLMS = "llminferenceservices.serving.kserve.io"
DEPLOYMENTS = "deployments.apps"
FINALIZERS = {SERVICES: "inferenceservice.finalizers", LLMS: "serving.kserve.io/llmisvc-finalizer"}
STOP = "serving.kserve.io/stop"
COMPONENT = "v1beta1Controllers"
NO_KNATIVE = (
    "It is not possible to use Serverless deployment mode when Knative Services are not available"
)
# Kind, namespace and name of an InferenceService or LLMInferenceService.
Place = tuple[str, str, str]


def owner_of(item: Object) -> Place | None:
    """The service that a pod, Deployment or Service was made for, from its labels."""
    labels = item["metadata"].get("labels") or {}
    namespace = item["metadata"].get("namespace", "")
    if "serving.kserve.io/inferenceservice" in labels:
        return SERVICES, namespace, labels["serving.kserve.io/inferenceservice"]
    if labels.get("app.kubernetes.io/part-of") == llm.PART_OF:
        return LLMS, namespace, labels["app.kubernetes.io/name"]
    return None


def deployments_of(plane: Plane, place: Place) -> list[Object]:
    """Deployments of a service that are not being deleted, by name."""
    return [
        each
        for each in plane.all(DEPLOYMENTS, place[1])
        if owner_of(each) == place and "deletionTimestamp" not in each["metadata"]
    ]


class Controllers:
    """KServe in one cluster. look_again(seconds, place): reconcile once more in the future.

    invalid: services for which reconciling fails, whatever their spec says. running: False
    when the controller manager is down.
    """

    def __init__(self, plane: Plane, look_again: Callable[[float, Place], None]) -> None:
        self.plane = plane
        self.look_again = look_again
        self.invalid: dict[Place, Unsupported] = {}
        self.running = True
        self._wanted: dict[Place, Object] = {}

    def reconcile(self, place: Place) -> None:
        """Bring everything of one service in line with its spec, as far as it is now."""
        kind = place[0]
        service = self.plane.find(*place)
        if service is None or not self.running:
            return
        finalizers = service["metadata"].get("finalizers") or []
        own = FINALIZERS[kind]
        if "deletionTimestamp" in service["metadata"]:
            if own in finalizers:
                self._finalizers(kind, service, [each for each in finalizers if each != own])
            return
        if own not in finalizers:
            service = self._finalizers(kind, service, [*finalizers, own])
        try:
            if place in self.invalid:
                raise self.invalid[place]
            if kind == LLMS:
                self._serve_llm(place, service)
            elif knative.is_knative(service):
                self._serve_knative(place, service)
            else:
                self._serve(place, service)
        except Unsupported as why:
            self._refuse(kind, service, why)

    def _refuse(self, kind: str, service: Object, why: Unsupported) -> None:
        old = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
        if old.get("reason") != why.reason:
            self._write(kind, service, invalid_status(service, why, self.plane.timestamp()))
            said = f"fails to reconcile predictor: {why}"
            record(self.plane, service, Happening("InternalError", said, "Warning", COMPONENT))

    def _finalizers(self, kind: str, service: Object, finalizers: list[str]) -> Object:
        metadata = {**service["metadata"], "finalizers": finalizers}
        return self.plane.change(kind, service, {**service, "metadata": metadata})

    def _stopped(self, place: Place, service: Object) -> bool:
        """Whether it is to be stopped; removes what runs then."""
        if (service["metadata"].get("annotations") or {}).get(STOP) != "true":
            return False
        for deployment in deployments_of(self.plane, place):
            self.plane.delete(DEPLOYMENTS, deployment)
        for network in self.plane.all("services", place[1]):
            made_here = any(
                each["uid"] == service["metadata"]["uid"]
                for each in network["metadata"].get("ownerReferences", ())
            )
            if made_here and "deletionTimestamp" not in network["metadata"]:
                self.plane.delete("services", network)
        return True

    def _ensured(self, kind: str, wanted: Object) -> Object:
        """The object as it stands: made when it is not there, changed with what is wanted."""
        metadata = wanted["metadata"]
        found = self.plane.find(kind, metadata["namespace"], metadata["name"])
        key = (kind, metadata["namespace"], metadata["name"])
        if found is not None:
            changed = self._wanted.get(key, wanted["spec"]) != wanted["spec"]
            self._wanted[key] = wanted["spec"]
            spec = {**found["spec"], **wanted["spec"]}
            return self.plane.change(kind, found, {**found, "spec": spec}) if changed else found
        self._wanted[key] = wanted["spec"]
        made = self.plane.create(wanted)
        place = owner_of(made)
        if kind == DEPLOYMENTS and place is not None:
            self.look_again(workloads.deadline_s(made) + 1.0, place)
        return made

    def _serve(self, place: Place, service: Object) -> None:
        deployment, stopped = None, self._stopped(place, service)
        if not stopped:
            wanted = deployment_of(service, runtime_of(self.plane, service))
            deployment = self._ensured(DEPLOYMENTS, wanted)
            self._ensured("services", service_of(service, wanted))
        pods = workloads.matching_pods(self.plane, deployment) if deployment else []
        status = service_status(service, deployment, pods, stopped, self.plane.timestamp())
        self._write(place[0], service, status)

    def _serve_llm(self, place: Place, service: Object) -> None:
        made = []
        if not self._stopped(place, service):
            made = [self._ensured(DEPLOYMENTS, each) for each in llm.deployments_of(service)]
            self._ensured("services", llm.service_of(service))
        self._write(place[0], service, llm.status_of(service, made, self.plane.timestamp()))

    def _serve_knative(self, place: Place, service: Object) -> None:
        if self._stopped(place, service):
            status = service_status(service, None, [], True, self.plane.timestamp())
            self._write(place[0], service, {**status, "deploymentMode": "Knative"})
            return
        if not self.plane.serves(f"revisions.{knative.SERVING}"):
            what = Happening("ServerlessModeRejected", NO_KNATIVE, "Warning", COMPONENT)
            record(self.plane, service, what)
            return
        runtime, now = runtime_of(self.plane, service), self.plane.timestamp()
        parts, above = [], service
        for kind, name in knative.chain(service):
            plural = f"{kind.lower()}s.{knative.SERVING}"
            above = self._ensured(plural, knative.part(service, kind, name, above, {}))
            parts.append((plural, above))
        revision = parts[-1][1]
        wanted = knative.revision_deployment(service, runtime, revision)
        deployment = self._ensured(DEPLOYMENTS, wanted)
        was_ready = found_condition(revision, "Ready").get("status") == "True"
        status = knative.revision_status(revision, deployment, was_ready, now)
        revision = self.plane.change(parts[-1][0], revision, {**revision, "status": status})
        ready = ("Unknown", "", "")
        for plural, item in parts[:-1]:
            conditions, ready = knative.service_conditions(item, revision, now)
            self.plane.change(plural, item, {**item, "status": {"conditions": conditions}})
        if ready[0] == "False" and deployment["spec"]["replicas"]:
            self.scale(deployment, 0)
        pods = workloads.matching_pods(self.plane, deployment)
        inference = knative.inference_status(service, revision, pods, ready, now)
        self._write(place[0], service, inference)

    def scale(self, deployment: Object, replicas: int) -> None:
        spec = {**deployment["spec"], "replicas": replicas}
        self.plane.change(DEPLOYMENTS, deployment, {**deployment, "spec": spec})

    def _write(self, kind: str, service: Object, status: Object) -> None:
        before = found_condition(service, "Ready").get("status")
        written = self.plane.change(kind, service, {**service, "status": status})
        now, name = found_condition(written, "Ready"), service["metadata"]["name"]
        if kind == LLMS or before == now.get("status"):
            return
        if now.get("status") == "True":
            said = f"InferenceService [{name}] is Ready"
            what = Happening("InferenceServiceReady", said, "Normal", COMPONENT)
        elif before == "True":
            why = now.get("reason", "")
            said = f"InferenceService [{name}] is no longer Ready because of: {why}"
            what = Happening("InferenceServiceNotReady", said, "Warning", COMPONENT)
        else:
            return
        record(self.plane, written, what)
