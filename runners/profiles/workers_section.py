"""The `load.workers` section of a profile: which processes send the load."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from runners.profiles.section import Positive, Section

Address = Annotated[
    str,
    Field(
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}$",
        examples=["10.0.0.7:8790"],
        max_length=300,
    ),
]
_OF_PODS = ("image", "cpu", "memory")


class Workers(Section):
    """Load workers: a number of processes here, machines that run one each, or pods."""

    processes: Positive | None = Field(
        default=None, description="Processes on this machine; `workers: N` says the same."
    )
    addresses: Annotated[list[Address], Field(min_length=1)] | None = Field(
        default=None,
        description="Machines on which `python -m runners.load.remote` waits, one worker each.",
    )
    pods: Positive | None = Field(default=None, description="Pods in the cluster, one worker each.")
    image: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Image of the pods: the toolkit's own, from its Dockerfile."
    )
    cpu: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)?m?$",
        examples=["2", "500m"],
        description="CPU request and limit of a pod; 2 when not given.",
    )
    memory: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$",
        examples=["4Gi", "512Mi"],
        description="Memory request and limit of a pod; 4Gi when not given.",
    )

    @model_validator(mode="after")
    def one_kind(self) -> "Workers":
        given = [key for key in ("processes", "addresses", "pods") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError("give one of processes, addresses, pods")
        if self.addresses is not None and len(set(self.addresses)) < len(self.addresses):
            raise ValueError("an address appears twice; a worker has one coordinator at a time")
        if self.pods is None and any(getattr(self, key) is not None for key in _OF_PODS):
            raise ValueError("image, cpu and memory are those of pods")
        if self.pods is not None and self.image is None:
            raise ValueError("pods need image: the toolkit's own, built from its Dockerfile")
        return self


def _from_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"processes": value} if is_number else value


def _to_number(value: Workers | None) -> Any:
    if value is None or value.processes is None:
        return value
    return value.processes


# A number stays a number where a profile is written again.
NumberOrWorkers = Annotated[
    Workers | None,
    BeforeValidator(_from_number, json_schema_input_type=Workers | Positive | None),
    PlainSerializer(_to_number),
]
