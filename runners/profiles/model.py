"""The profile: what a user writes in YAML, as one strict model.

Unknown keys are errors everywhere. Every field has a description: the JSON Schema in
docs/profile.schema.json and the reference page are generated from here.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from runners.profiles.cost_section import Cost
from runners.profiles.engine_section import Engine
from runners.profiles.load_section import Load
from runners.profiles.section import PositiveFloat, Section
from runners.profiles.serving_section import Resources, Serving
from runners.profiles.telemetry_section import Telemetry
from runners.profiles.workload_section import Workload

Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128, examples=["my-profile_1.0"]),
]


class Adapter(Section):
    """A LoRA adapter that is served beside the model."""

    name: str = Field(min_length=1, description="The name requests ask for.")
    uri: str = Field(min_length=1, description="Where it is: hf://, s3://, pvc://, or a path.")


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
    revision: str | None = Field(
        default=None, min_length=1, description="Commit, tag or branch of a hf:// model."
    )
    chat_template: str | None = Field(
        default=None,
        min_length=1,
        description="A Jinja file beside the profile (or an absolute path); by default the "
        "tokenizer's own. On KServe it goes through a ConfigMap.",
    )
    adapters: list[Adapter] = Field(
        default_factory=list, description="LoRA adapters, on engines that serve them."
    )


class Slo(Section):
    """Limits: of one request, to count as goodput, and of the whole run."""

    ttft_ms: PositiveFloat | None = Field(default=None, description="Time to first token.")
    tpot_ms: PositiveFloat | None = Field(default=None, description="Time per output token.")
    e2e_latency_ms: PositiveFloat | None = Field(default=None, description="End-to-end latency.")
    limits: dict[str, float | int | str] = Field(
        default_factory=dict,
        description="Limits of the whole run, which gate.py checks with their intervals: "
        "`ttft_ms.p95: 500`, `goodput_fraction: '>= 0.99'`, `error_rate: 0.001`.",
    )


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
    telemetry: Telemetry = Field(default_factory=Telemetry, description="GPU metrics.")
    validity: Validity = Field(default_factory=Validity, description="When a run distrusts itself.")

    @model_validator(mode="after")
    def a_cost_limit_needs_a_price(self) -> "Profile":
        limited = [key for key in self.slo.limits if key.startswith("cost_")]
        if limited and not self.cost.is_known:
            raise ValueError(
                f"slo.limits.{limited[0]} needs a price: add `cost: {{price: <name in costs/>}}` "
                "or `cost: {price_per_gpu_hour: <price>, source: <where from>, date: <YYYY-MM>}`"
            )
        return self
