"""The `telemetry` section of a profile: where GPUs tell what they draw."""

from typing import Annotated

from pydantic import Field

from runners.profiles.section import NotNegative, Section


class Telemetry(Section):
    """Where GPU metrics come from; on this machine NVML is asked without being told."""

    dcgm_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        examples=["http://localhost:9400/metrics"],
        description="The DCGM exporter of the node, for a service on one node.",
    )
    prometheus_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        examples=["http://localhost:9090"],
        description="A Prometheus server that scrapes the DCGM exporters.",
    )
    prometheus_token_env: str | None = Field(
        default=None,
        min_length=1,
        description="Environment variable that holds its bearer token; never stored.",
    )
    gpus: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        examples=[["0", "1"]],
        description="Indices or UUIDs of the GPUs that serve, where pods do not tell.",
    )
    idle_s: NotNegative = Field(
        default=0.0, description="Seconds to wait before the load, to see what GPUs draw idle."
    )
