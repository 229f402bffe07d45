"""Why a model does not serve: every cause we can name, its message and the way out.

docs/troubleshooting.md lists them; a test holds the two against each other.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cause:
    """message: one sentence with {fields}; way_out: what to do about it."""

    title: str
    message: str
    way_out: str


CAUSES = {
    "unschedulable": Cause(
        "No node can take the pod",
        "pod {pod} cannot be scheduled: {why}; it asks for {asks}",
        "free or add such a node, or ask for less: resources.gpu, resources.cpu, "
        "resources.memory, serving.node_selector, serving.tolerations",
    ),
    "image-pull": Cause(
        "The image cannot be pulled",
        "pod {pod} cannot pull image {image}: {said}",
        "correct engine.image or engine.version; a private registry needs "
        "serving.image_pull_secrets",
    ),
    "container-config": Cause(
        "The container cannot be made",
        "container {container} of pod {pod} cannot be made ({reason}): {said}",
        "make the Secret or ConfigMap that it names, or correct the name in the profile",
    ),
    "out-of-memory": Cause(
        "Killed for memory",
        "container {container} of pod {pod} was killed: out of memory at its limit of {limit} "
        "(OOMKilled)",
        "raise resources.memory; /dev/shm (resources.shm) counts against it",
    ),
    "initializer-out-of-memory": Cause(
        "The download was killed for memory",
        "container {container} of pod {pod} was killed while it downloaded {uri}: out of memory at "
        "its limit of {limit} (OOMKilled)",
        "raise the storage initializer's memory limit (ConfigMap inferenceservice-config, or a "
        "ClusterStorageContainer), or put the model on a volume once and use pvc://",
    ),
    "download": Cause(
        "The model cannot be downloaded",
        "container {container} of pod {pod} could not download {uri}: {said}",
        "check model.uri; a gated model needs serving.hf_token, a private bucket "
        "serving.service_account",
    ),
    "engine": Cause(
        "The engine ends while it starts",
        "the engine in pod {pod} ended with exit code {code}: {said} (its whole log: {log})",
        "correct engine.args or resources as its message says",
    ),
    "startup-probe": Cause(
        "The kubelet killed a model that was still loading",
        "the startup probe of pod {pod} gave up after {budget_s} s and killed the engine while it "
        "was still loading; it last said: {said}",
        "raise serving.startup_timeout_s, from which the probe's budget is made",
    ),
    "liveness-probe": Cause(
        "The kubelet killed an engine that did not answer",
        "the liveness probe of pod {pod} failed and the engine was killed; it last said: {said}",
        "an engine that hangs at start-up is most often short of CPU: raise resources.cpu",
    ),
    "no-runtime": Cause(
        "KServe has no runtime for it",
        "KServe does not accept the InferenceService ({reason}): {said}",
        "the profile's backend and serving.kserve_version have to fit the cluster's KServe; "
        "./bench.sh preflight tells its version",
    ),
    "quota": Cause(
        "A quota refuses the pods",
        "no pod can be made: {said}",
        "free something in the namespace, raise the ResourceQuota, or ask for less",
    ),
    "pods-refused": Cause(
        "The cluster refuses the pods",
        "no pod can be made: {said}",
        "the namespace's policy (Pod Security, an admission webhook or a LimitRange) has to "
        "allow the engine's pod; another namespace: --namespace",
    ),
    "volume": Cause(
        "A volume cannot be mounted",
        "pod {pod} waits for a volume: {said}",
        "check the claim in model.uri (pvc://) and that its volume can attach to the node",
    ),
    "sandbox": Cause(
        "The node cannot make the pod's sandbox",
        "the node cannot start pod {pod}: {said}",
        "the runtime class (serving.runtime_class) or the network plugin of that node does not "
        "work: have it fixed, or place the pod elsewhere with serving.node_selector",
    ),
    "no-controller": Cause(
        "KServe's controller does nothing",
        "KServe made nothing of {kind} {service} in {seconds} s: its controller does not run, or "
        "does not look after this namespace",
        "look at the pods of kserve-controller-manager (namespace kserve, as a rule)",
    ),
    "evicted": Cause(
        "The pod was evicted",
        "pod {pod} was evicted from its node: {said}",
        "the node ran short; ask for what the engine needs (resources.memory) or use a node "
        "with more disk",
    ),
    "revision": Cause(
        "Knative gave the revision up",
        "Knative gave up: {said}",
        "raise serving.startup_timeout_s (it sets Knative's progress deadline), or use "
        "serving.mode Standard",
    ),
    "llm-config": Cause(
        "The LLMInferenceService cannot be reconciled",
        "the LLMInferenceService is not accepted ({reason}): {said}",
        "install what it needs (presets, Gateway API, LeaderWorkerSet), or use serving.kind "
        "InferenceService",
    ),
    "deleted": Cause(
        "Somebody deleted it",
        "{kind} {service} was deleted by someone else",
        "run again; to share a namespace, let each run choose its own name",
    ),
    "credentials": Cause(
        "The credentials expired",
        "the API server no longer accepts the credentials (401 Unauthorized)",
        "log in to the cluster again",
    ),
    "api-gone": Cause(
        "The API server is gone",
        "the API server at {server} did not answer for {seconds} s: {said}",
        "run again when the cluster is back; ./bench.sh gc removes what was left",
    ),
    "too-slow": Cause(
        "It took too long",
        "not ready within {seconds} s (serving.startup_timeout_s); {state}",
        "raise serving.startup_timeout_s if it was still making progress",
    ),
    "no-token": Cause(
        "It is ready but does not answer",
        "all pods are ready, but no token came: {said}",
        "see the engine's log in logs/ of the run directory",
    ),
}


@dataclass(frozen=True)
class Failure:
    """A cause met: `text` is its message filled in.

    evidence: events and states that prove it, one line each. subject: the pod it is about.
    """

    code: str
    text: str
    subject: str | None = None
    container: str | None = None
    evidence: tuple[str, ...] = field(default=())

    def paragraph(self) -> str:
        """What happened and the way out, as one line."""
        return f"{self.text}; {CAUSES[self.code].way_out}"


def failure(
    cause: str, subject: str | None = None, where: str | None = None, /, **fields: object
) -> Failure:
    """Fill in a cause's message; subject: the pod it is about, where: its container."""
    words = {key: " ".join(str(value).split()) for key, value in fields.items()}
    return Failure(cause, CAUSES[cause].message.format(**words), subject, where)
