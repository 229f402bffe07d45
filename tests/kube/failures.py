"""Stories that end badly, and what has to be found out in each.

Times are seconds after the creation of the pod. Nothing here knows who plays it.
"""

from tests.kube.crashes import (
    DISK_FULL,
    DOWNLOAD_FAILED,
    DOWNLOAD_OOM,
    ENGINE_CRASHES,
    GPU_MEMORY,
    MODEL_OOM,
    PROBE_KILLS,
)
from tests.kube.stories import (
    DOWNLOAD_LOG,
    ENGINE_START_LOG,
    INSUFFICIENT,
    START_S,
    initialised,
    scheduled,
    served,
    up_to_start,
)
from tests.kube.timeline import INITIALIZER, Expected, Scenario, Step

UNSCHEDULABLE = Scenario(
    "unschedulable",
    "No node has a free GPU, and nothing will add one.",
    (
        (
            Step(0.2, "unschedulable", text=INSUFFICIENT),
            Step(
                11.0,
                "no_scale_up",
                "",
                "pod didn't trigger scale-up: 1 max node group size reached",
            ),
            Step(300.0, "unschedulable", text=INSUFFICIENT),
        ),
    ),
    Expected(None, ("nvidia.com/gpu", "3"), ("FailedScheduling",), 0.2),
)

WRONG_GPU = Scenario(
    "wrong-gpu",
    "The node selector names a GPU that no node has.",
    (
        (
            Step(
                0.2,
                "unschedulable",
                text="0/3 nodes are available: 3 node(s) didn't match Pod's node "
                "affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not "
                "helpful for scheduling.",
            ),
        ),
    ),
    Expected(None, ("affinity",), ("FailedScheduling",), 0.2),
)

UNTOLERATED = Scenario(
    "untolerated",
    "The GPU nodes carry a taint that the pod does not tolerate.",
    (
        (
            Step(
                0.2,
                "unschedulable",
                text="0/3 nodes are available: 3 node(s) had untolerated taint "
                "{nvidia.com/gpu: present}. preemption: 0/3 nodes are available: 3 Preemption "
                "is not helpful for scheduling.",
            ),
        ),
    ),
    Expected(None, ("taint", "nvidia.com/gpu"), ("FailedScheduling",), 0.2),
)

CLAIM_MISSING = Scenario(
    "claim-missing",
    "The model's PersistentVolumeClaim does not exist.",
    (
        (
            Step(
                0.2,
                "unschedulable",
                text='0/3 nodes are available: persistentvolumeclaim "models" not found. '
                "preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
                "scheduling.",
            ),
        ),
    ),
    Expected(None, ("persistentvolumeclaim", "models"), ("FailedScheduling",), 0.2),
)

NO_SUCH_IMAGE = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to '
    'resolve reference "{image}": {image}: not found'
)
IMAGE_MISSING = Scenario(
    "image-missing",
    "The image's tag does not exist.",
    (
        (
            *scheduled(),
            *initialised(2.0, 5.0),
            Step(8.0, "pulling"),
            Step(10.0, "pull_failed", text=NO_SUCH_IMAGE),
            Step(22.0, "pull_backoff", text=NO_SUCH_IMAGE),
            Step(25.0, "pulling"),
            Step(27.0, "pull_failed", text=NO_SUCH_IMAGE),
            Step(40.0, "pull_backoff", text=NO_SUCH_IMAGE),
        ),
    ),
    Expected(None, ("image", "not found"), ("Failed", "BackOff"), 22.0),
)

NO_RIGHT = (
    'failed to pull and unpack image "{image}": failed to resolve reference "{image}": pull '
    "access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed"
)
IMAGE_FORBIDDEN = Scenario(
    "image-forbidden",
    "The registry wants credentials.",
    (
        (
            *scheduled(),
            *initialised(2.0, 5.0),
            Step(8.0, "pulling"),
            Step(9.0, "pull_failed", text=NO_RIGHT),
            Step(21.0, "pull_backoff", text=NO_RIGHT),
        ),
    ),
    Expected(None, ("image", "authorization"), ("Failed", "BackOff"), 21.0),
)

IMAGE_INVALID = Scenario(
    "image-invalid",
    "The image's name cannot be read.",
    ((*scheduled(), *initialised(2.0, 5.0), Step(8.0, "invalid_image")),),
    Expected(None, ("image", "invalid reference format"), ("InspectFailed",), 8.0),
)

SECRET_MISSING = Scenario(
    "secret-missing",
    "The container's environment names a Secret that does not exist.",
    (
        (
            *scheduled(),
            *initialised(2.0, 5.0),
            Step(8.0, "config_error", text='secret "hf-secret" not found'),
        ),
    ),
    Expected(None, ("secret", "hf-secret"), ("Failed",), 8.0),
)

VOLUME_MISSING = Scenario(
    "volume-missing",
    "A mounted ConfigMap does not exist.",
    (
        (
            *scheduled(),
            *(
                Step(
                    at_s,
                    "warned",
                    "",
                    'MountVolume.SetUp failed for volume "chat-template" : configmap '
                    '"chat-template" not found',
                    "FailedMount",
                )
                for at_s in (1.0, 2.0, 4.0, 8.0, 60.0)
            ),
        ),
    ),
    Expected(None, ("configmap", "chat-template"), ("FailedMount",), 60.0),
)

NO_RUNTIME_CLASS = Scenario(
    "no-runtime-class",
    "The node does not know the runtime class's handler.",
    (
        (
            *scheduled(),
            *(
                Step(
                    at_s,
                    "warned",
                    "",
                    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to "
                    'get sandbox runtime: no runtime for "nvidia" is configured',
                    "FailedCreatePodSandBox",
                )
                for at_s in (1.0, 15.0, 30.0)
            ),
        ),
    ),
    Expected(None, ("runtime", "nvidia"), ("FailedCreatePodSandBox",), 30.0),
)

HUNG = Scenario(
    "hung",
    "The engine starts and is never heard of again.",
    ((*up_to_start(), Step(START_S, "started"), Step(60.0, "log", text=ENGINE_START_LOG)),),
    Expected(None),
)

NO_SCHEDULER = Scenario(
    "no-scheduler",
    "Nobody schedules the pod: it stays Pending without a word.",
    ((),),
    Expected(None),
)

QUOTA = Scenario(
    "quota",
    "The namespace's quota has no GPU left.",
    (),
    Expected(None, ("quota", "nvidia.com/gpu"), ("FailedCreate",), 1.0),
    refused_pods=(
        "exceeded quota: gpu-quota, requested: requests.nvidia.com/gpu=1, "
        "used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"
    ),
)

SECURITY = Scenario(
    "security",
    "Pod Security Admission refuses the pod.",
    (),
    Expected(None, ("PodSecurity", "runAsNonRoot"), ("FailedCreate",), 1.0),
    refused_pods=(
        'violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container '
        '"kserve-container" must set securityContext.runAsNonRoot=true)'
    ),
)

NO_RUNTIME = Scenario(
    "no-runtime",
    "No runtime supports the model's format.",
    (),
    Expected(None, ("runtime", "No runtime found"), ("InternalError",), 0.3),
    service=(
        Step(
            0.0,
            "invalid",
            "",
            "No runtime found to support specified framework/version",
            "NoSupportingRuntime",
        ),
    ),
)

RUNTIME_UNKNOWN = Scenario(
    "runtime-unknown",
    "The runtime that the service names is not there.",
    (),
    Expected(None, ("runtime",), ("InternalError",), 0.3),
    service=(
        Step(
            0.0,
            "invalid",
            "",
            "Waiting for runtime to become available",
            "RuntimeNotRecognized",
        ),
    ),
)

NO_CONTROLLER = Scenario(
    "no-controller",
    "KServe's controller does not run: nothing ever happens.",
    (),
    Expected(None, ("controller",), (), 60.0),
    service=(Step(0.0, "controller_down"),),
)

EVICTED = Scenario(
    "evicted",
    "The node runs out of disk while the model downloads; the next pod fares no better.",
    (
        (
            *scheduled(),
            Step(2.0, "started", INITIALIZER),
            Step(3.0, "log", INITIALIZER, DOWNLOAD_LOG),
            Step(
                40.0,
                "evicted",
                "",
                "The node was low on resource: ephemeral-storage. Threshold quantity: "
                "47574047089, available: 40123456Ki. ",
            ),
        ),
    ),
    Expected(None, ("ephemeral-storage",), ("Evicted",), 40.0),
)

DELETED_MEANWHILE = Scenario(
    "deleted-meanwhile",
    "Somebody deletes the InferenceService while it starts.",
    ((*up_to_start(), *served(START_S, 60.0)),),
    Expected(None, ("deleted",), (), 60.0),
    service=(Step(60.0, "deleted", ""),),
)

FAILED = (
    UNSCHEDULABLE,
    WRONG_GPU,
    UNTOLERATED,
    CLAIM_MISSING,
    IMAGE_MISSING,
    IMAGE_FORBIDDEN,
    IMAGE_INVALID,
    SECRET_MISSING,
    VOLUME_MISSING,
    NO_RUNTIME_CLASS,
    DOWNLOAD_FAILED,
    DOWNLOAD_OOM,
    MODEL_OOM,
    ENGINE_CRASHES,
    GPU_MEMORY,
    DISK_FULL,
    PROBE_KILLS,
    QUOTA,
    SECURITY,
    NO_RUNTIME,
    RUNTIME_UNKNOWN,
    NO_CONTROLLER,
    EVICTED,
    DELETED_MEANWHILE,
)
# Nothing tells why: only the deadline of whoever waits ends these.
ENDLESS = (HUNG, NO_SCHEDULER)
