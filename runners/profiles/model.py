"""The profile: what a user writes in YAML, as one strict model.

Unknown keys are errors everywhere. Every field has a description: the JSON Schema in
docs/profile.schema.json and the reference page are generated from here.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from runners.errors import UsageError
from runners.load.dialects import DIALECTS, Question
from runners.profiles.load_section import Load
from runners.profiles.section import Positive, PositiveFloat, Section

# The choices are those there are dialects for; a type checker cannot know them.
if TYPE_CHECKING:
    Api = str
else:
    Api = Literal[tuple(DIALECTS)]

Json = Any
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128, examples=["my-profile_1.0"]),
]
KubernetesName = Annotated[
    str,
    Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40, examples=["llama-8b"]),
]


class Model(Section):
    """Which model is served."""

    uri: str = Field(
        min_length=1,
        description="Where the weights are: hf://, s3://, gs://, pvc://, oci://, tiny:// "
        "(a small model made locally), or a path. tiny://target and tiny://draft take "
        "options: ?acceptance=0.7&parameters=29M&seed=0, or ?repetitive=true.",
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        description="The served name; by default the last part of the URI.",
    )
    tokenizer: str | None = Field(
        default=None,
        description="A directory, tokenizer.json or Hugging Face id; by default the model's.",
    )


class Engine(Section):
    """The serving software and its settings."""

    name: Literal["vllm", "tgi", "tensorrt-llm"] = Field(
        default="vllm", description="Which engine."
    )
    version: str = Field(
        default="0.32.0",
        pattern=r"^\d+\.\d+(\.\d+)?([a-z0-9.+-]*)$",
        examples=["0.32.0"],
        description="Its version; rules and images follow it.",
    )
    backend: Literal["vllm", "vllm-huggingface", "tgi", "tensorrt-llm", "triton"] | None = Field(
        default=None,
        description="The way it is served on KServe; by default the engine's own image.",
    )
    image: str | None = Field(
        default=None, description="Container image; by default the version's own."
    )
    args: dict[str, Json] = Field(
        default_factory=dict,
        description="Engine arguments, spelled with _ or -; true is a bare flag, false its "
        "negation, a mapping is passed as JSON.",
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the engine."
    )


class Gpu(Section):
    """Accelerators of one replica."""

    count: Annotated[int, Field(ge=0)] = Field(
        default=1, description="GPUs (or MIG slices) per replica."
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
    cpu: str = Field(
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
        description="Which autoscaler; none pins the replicas, as a benchmark wants.",
    )
    min_replicas: Annotated[int, Field(ge=0)] = Field(default=1, description="Fewest replicas.")
    max_replicas: Positive = Field(default=1, description="Most replicas.")


class Serving(Section):
    """How KServe serves it."""

    mode: Literal["Standard", "Knative"] = Field(default="Standard", description="Deployment mode.")
    namespace: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        max_length=63,
        examples=["bench"],
        description="Namespace; by default the context's.",
    )
    service: KubernetesName | None = Field(
        default=None, description="Name of the InferenceService; by default the profile's."
    )
    replicas: Positive = Field(default=1, description="Replicas when nothing scales them.")
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="Autoscaler and its limits."
    )
    startup_timeout_s: PositiveFloat = Field(
        default=1800.0, description="How long start-up may take until the first token."
    )


class SharedPrefix(Section):
    """Prompts that begin alike, in groups."""

    groups: Positive = Field(default=1, description="How many different prefixes.")
    tokens: Positive = Field(description="Length of each prefix in tokens.")


class Workload(Section):
    """What is asked."""

    kind: Literal["synthetic", "prompts"] = Field(
        default="synthetic", description="synthetic: generated prompts; prompts: the list below."
    )
    api: Api = Field(
        default="chat",
        description="Which API: OpenAI's chat or completions; tgi: TGI's generate_stream; "
        "triton: Triton's generate extension; oip: that of the Open Inference Protocol.",
    )
    input_tokens: Positive = Field(
        default=128, description="Mean prompt length (synthetic), in tokens."
    )
    input_tokens_stdev: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Its standard deviation; 0 makes every prompt equally long."
    )
    max_tokens: Positive = Field(default=64, description="Longest answer, in tokens.")
    ignore_eos: bool = Field(
        default=False, description="Always produce max_tokens (equal work, not natural stops)."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(default=0.0, description="Sampling.")
    shared_prefix: SharedPrefix | None = Field(
        default=None, description="Common beginnings, to exercise prefix caching."
    )
    repetition: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="Share of a synthetic prompt that repeats its own earlier text."
    )
    prompts: list[str] = Field(default_factory=list, description="Texts, for kind prompts.")
    stream: bool = Field(default=True, description="Stream answers; without, TTFT is not measured.")
    extra_body: dict[str, Json] = Field(
        default_factory=dict, description="Further keys of each request's JSON body."
    )
    keep_responses: bool = Field(
        default=False, description="Write answer texts to responses.parquet."
    )

    @model_validator(mode="after")
    def prompts_for_kind(self) -> "Workload":
        if (self.kind == "prompts") != bool(self.prompts):
            raise ValueError("kind prompts and the list `prompts` go together")
        return self

    @model_validator(mode="after")
    def the_api_can_do_it(self) -> "Workload":
        question = Question("", "", 1, stream=self.stream, ignore_eos=self.ignore_eos)
        try:
            DIALECTS[self.api].body(question)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self


class Slo(Section):
    """Limits that one request must meet to count as goodput."""

    ttft_ms: PositiveFloat | None = Field(default=None, description="Time to first token.")
    tpot_ms: PositiveFloat | None = Field(default=None, description="Time per output token.")
    e2e_latency_ms: PositiveFloat | None = Field(default=None, description="End-to-end latency.")


class Cost(Section):
    """Price of the machines; without one, costs are null."""

    price_per_gpu_hour: PositiveFloat | None = Field(default=None, description="Per GPU and hour.")
    price_per_node_hour: PositiveFloat | None = Field(
        default=None, description="Per replica's node and hour, for machines priced as a whole."
    )
    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", examples=["USD", "EUR"], description="ISO 4217 code."
    )
    source: str | None = Field(default=None, description="Where the price is from.")
    date: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{2}(-\d{2})?$",
        examples=["2026-01", "2026-01-31"],
        description="When it was valid.",
    )

    @model_validator(mode="after")
    def one_price(self) -> "Cost":
        if self.price_per_gpu_hour is not None and self.price_per_node_hour is not None:
            raise ValueError("give a price per GPU or per node, not both")
        return self


class Validity(Section):
    """When a run calls itself degraded or invalid (see docs/metrics.md)."""

    error_budget: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="Share of failed requests above which a run is invalid."
    )
    offered_rate_degraded: PositiveFloat = Field(
        default=0.01, description="Shortfall, share of plan."
    )
    offered_rate_invalid: PositiveFloat = Field(
        default=0.05, description="Shortfall, share of plan."
    )
    send_lag_degraded_ms: PositiveFloat = Field(default=5.0, description="p99 send lag, open loop.")
    send_lag_degraded_share: PositiveFloat = Field(default=0.10, description="Of the median TTFT.")
    send_lag_invalid_share: PositiveFloat = Field(default=0.50, description="Of the median TTFT.")
    failed_degraded: Annotated[float, Field(ge=0)] = Field(
        default=0.001, description="Share of requests."
    )
    token_mismatch_degraded: PositiveFloat = Field(
        default=0.005, description="Client against server."
    )
    token_mismatch_invalid: PositiveFloat = Field(
        default=0.05, description="Client against server."
    )
    steady_change: PositiveFloat = Field(
        default=0.10,
        description="Drift over the window, or swing to either side, as a share of the mean, "
        "above which a run is not steady.",
    )
    read_lag_degraded_ms: PositiveFloat = Field(
        default=5.0, description="p99 of how late the client read what the kernel had stamped."
    )
    loop_stall_degraded_ms: PositiveFloat = Field(
        default=5.0, description="p99 stall of a load worker's event loop."
    )
    worker_cpu_degraded: PositiveFloat = Field(
        default=0.9, description="Share of a core that the busiest load worker used."
    )
    reconnects_degraded: PositiveFloat = Field(
        default=0.01, description="Connections made anew, as a share of the requests."
    )
    clock_step_invalid_ms: PositiveFloat = Field(
        default=50.0, description="Jump of the wall clock during the load."
    )
    few_cores: Annotated[int, Field(ge=0)] = Field(
        default=4, description="Client and engine sharing so many cores or fewer degrade a run."
    )


class Profile(Section):
    """One benchmark."""

    name: Name = Field(description="Name of the profile; it appears in the run directory.")
    description: str = Field(default="", description="What it shows, in one sentence.")
    extends: str | None = Field(
        default=None, description="One parent profile; this one is merged over it."
    )
    target: Literal["kserve", "local", "url", "simulator"] = Field(
        default="kserve", description="Where the model is served."
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        examples=["http://localhost:8000"],
        description="The server, for target url.",
    )
    api_key_env: str | None = Field(
        default=None,
        description="Environment variable that holds the API key; the key is never stored.",
    )
    model: Model = Field(description="Which model is served.")
    engine: Engine = Field(default_factory=Engine, description="Serving software.")
    resources: Resources = Field(default_factory=Resources, description="Per replica.")
    serving: Serving = Field(default_factory=Serving, description="On KServe.")
    load: Load = Field(default_factory=Load, description="How requests are sent.")
    workload: Workload = Field(default_factory=Workload, description="What is asked.")
    slo: Slo = Field(default_factory=Slo, description="Limits for goodput.")
    cost: Cost = Field(default_factory=Cost, description="Price of the machines.")
    validity: Validity = Field(default_factory=Validity, description="When a run distrusts itself.")
