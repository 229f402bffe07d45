"""The vocabulary of scenarios: steps with their times, and what they should lead to."""

from dataclasses import dataclass

SERVING = "kserve-container"
INITIALIZER = "storage-initializer"


@dataclass(frozen=True)
class Step:
    """One thing that happens `at_s` seconds after the pod (or the service) was created.

    do: a word of `tests.kube.kubelet.WORDS` for pods, of `tests.kube.cluster` for services.
    text: a message or log lines; reason and code: of a container's end or an event.
    """

    at_s: float
    do: str
    container: str = SERVING
    text: str = ""
    reason: str = ""
    code: int | None = None
    number: int = 0


@dataclass(frozen=True)
class Expected:
    """What whoever waits has to find out.

    ready_s: seconds after creation until Ready, None for never. cause: words of which each
    must be in the one paragraph that names the cause. evidence: reasons of the events that
    prove it. known_s: seconds after which the failure can be told without doubt.
    """

    ready_s: float | None
    cause: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    known_s: float | None = None


@dataclass(frozen=True)
class Scenario:
    """A story. The n-th pod follows the n-th timeline of `pods`, later ones the last.

    service: steps relative to the creation of the InferenceService. refused_pods: why the API
    server does not let the ReplicaSet create pods; "" when it does.
    """

    name: str
    summary: str
    pods: tuple[tuple[Step, ...], ...]
    expected: Expected
    service: tuple[Step, ...] = ()
    refused_pods: str = ""
    nodes: int = 3
    gpus_per_node: int = 4
