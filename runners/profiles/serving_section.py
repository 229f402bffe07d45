"""The sections `resources` and `serving` of a profile: how KServe runs it."""

from typing import Annotated, Literal

from pydantic import Field

from runners.profiles.engine_section import Json
from runners.profiles.section import AsText, Positive, PositiveFloat, Section

KubernetesName = Annotated[
    str,
    Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40, examples=["llama-8b"]),
]

KubernetesObject = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253, examples=["hf-secret"]),
]


class Gpu(Section):
    """Accelerators of one replica."""

    count: Annotated[int, Field(ge=0)] = Field(
        default=1, description="GPUs (or MIG slices) of each node of a replica."
    )
    type: str | None = Field(default=None, description="GPU product, for example H100 or L4.")
    mig: str | None = Field(
        default=None,
        pattern=r"^\d+g\.\d+gb(\+me)?$",
        examples=["1g.10gb"],
        description="MIG profile of the GPU.",
    )


class Resources(Section):
    """What one replica asks of a node."""

    gpu: Gpu = Field(default_factory=Gpu, description="Accelerators.")
    cpu: AsText = Field(
        default="4",
        pattern=r"^\d+(\.\d+)?m?$",
        examples=["4", "500m"],
        description="CPU request and limit.",
    )
    memory: str = Field(
        default="32Gi",
        pattern=r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$",
        examples=["32Gi", "512Mi"],
        description="Memory request and limit.",
    )
    shm: str = Field(
        default="8Gi",
        pattern=r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti)$",
        examples=["8Gi"],
        description="Size of /dev/shm.",
    )


class Autoscaling(Section):
    """How replicas follow load."""

    autoscaler: Literal["none", "hpa", "keda", "kpa"] = Field(
        default="none",
        description="Which autoscaler; none pins the replicas, as a benchmark wants. kpa is "
        "Knative's.",
    )
    min_replicas: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Fewest replicas; 0 scales to zero (keda, kpa)."
    )
    max_replicas: Positive = Field(default=1, description="Most replicas.")
    metric: Literal["cpu", "memory", "concurrency", "rps", "prometheus"] | None = Field(
        default=None,
        description="What it follows: cpu or memory (hpa), concurrency or rps (kpa), "
        "prometheus (keda); by default the first of them.",
    )
    target: PositiveFloat | None = Field(
        default=None, description="Value of the metric per replica that it keeps."
    )
    query: str | None = Field(default=None, description="PromQL, for metric prometheus.")
    prometheus: str | None = Field(
        default=None,
        pattern=r"^https?://",
        examples=["http://prometheus.monitoring:9090"],
        description="Address of the Prometheus server, for metric prometheus.",
    )


class Toleration(Section):
    """A taint that the replicas put up with."""

    key: str | None = Field(default=None, description="Of the taint; without one, every taint.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="How it compares.")
    value: str | None = Field(default=None, description="Of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="By default every effect."
    )


class SecretKey(Section):
    """A key of a Secret in the same namespace."""

    name: KubernetesObject = Field(description="Name of the Secret.")
    key: str = Field(
        default="HF_TOKEN",
        pattern=r"^[-._a-zA-Z0-9]+$",
        examples=["HF_TOKEN"],
        description="Key inside it.",
    )


class Prefill(Section):
    """The prefill side of a disaggregated LLMInferenceService; the profile is the decode side."""

    replicas: Positive = Field(default=1, description="Prefill replicas.")
    gpu: Gpu | None = Field(default=None, description="Accelerators; by default the profile's.")
    args: dict[str, Json] = Field(
        default_factory=dict, description="Engine arguments laid over engine.args."
    )


class Serving(Section):
    """How KServe serves it."""

    kind: Literal["InferenceService", "LLMInferenceService"] = Field(
        default="InferenceService",
        description="LLMInferenceService is llm-d's, for vLLM only: disaggregation, routing.",
    )
    kserve_version: str = Field(
        default="0.20",
        pattern=r"^0\.\d+(\.\d+)?$",
        examples=["0.20"],
        description="KServe's version, where no cluster can be asked; objects follow it.",
    )
    mode: Literal["Standard", "Knative"] = Field(default="Standard", description="Deployment mode.")
    namespace: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        examples=["bench"],
        description="Namespace; by default the context's.",
    )
    context: str | None = Field(
        default=None, min_length=1, description="Kubeconfig context; by default the current one."
    )
    service: KubernetesName | None = Field(
        default=None, description="Name of the InferenceService; by default the profile's."
    )
    existing: KubernetesObject | None = Field(
        default=None,
        description="Measure this InferenceService, which is there already; nothing is created.",
    )
    connect: Literal[
        "auto", "in-cluster", "load-balancer", "node-port", "gateway", "port-forward"
    ] = Field(
        default="auto",
        description="How requests reach it; auto takes the best for measuring that works.",
    )
    allow_port_forward: bool = Field(
        default=False,
        description="Drive more than a smoke load through a port-forward (degrades the run).",
    )
    replicas: Positive = Field(default=1, description="Replicas when nothing scales them.")
    nodes: Positive = Field(
        default=1, description="Nodes of one replica; more than one serves across nodes."
    )
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="Autoscaler and its limits."
    )
    prefill: Prefill | None = Field(
        default=None, description="Disaggregated prefill (LLMInferenceService only)."
    )
    startup_timeout_s: PositiveFloat = Field(
        default=1800.0, description="How long start-up may take until the first token."
    )
    request_timeout_s: Positive | None = Field(
        default=None,
        description="How long KServe's routes let one request take; by default 3600, in mode "
        "Knative 600, the most that Knative allows unless its operator raised the limit.",
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        description="Taints to put up with, besides nvidia.com/gpu, which GPU replicas always do.",
    )
    runtime_class: str | None = Field(
        default=None, min_length=1, description="RuntimeClass, where GPUs need one (nvidia)."
    )
    service_account: KubernetesObject | None = Field(
        default=None, description="ServiceAccount that can read the storage."
    )
    image_pull_secrets: list[KubernetesObject] = Field(
        default_factory=list, description="Secrets to pull the engine's image with."
    )
    hf_token: SecretKey | None = Field(
        default=None, description="Secret that holds a Hugging Face token, for gated models."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of every object, e.g. a Kueue queue's."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict, description="Annotations of the InferenceService."
    )

    def longest_request_s(self) -> int:
        """Seconds after which KServe's routes cut a request off."""
        return self.request_timeout_s or (600 if self.mode == "Knative" else 3600)
