"""The section `engine` of a profile: the serving software and its settings."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from runners.profiles.section import Section

Json = Any
EngineName = Literal["vllm", "tgi", "tensorrt-llm"]
# The newest that this toolkit's rules and images were made for.
ENGINE_VERSIONS = {"vllm": "0.32.0", "tgi": "3.3.7", "tensorrt-llm": "1.2.0"}
EngineVersion = Annotated[
    str, Field(pattern=r"^\d+\.\d+(\.\d+)?([a-z0-9.+-]*)$", examples=["0.32.0"])
]


class Specific(Section):
    """What a profile says for one engine only; it is laid over `engine`."""

    version: EngineVersion | None = Field(default=None, description="Its version.")
    image: str | None = Field(default=None, description="Its container image.")
    args: dict[str, Json] = Field(
        default_factory=dict, description="Arguments in that engine's own words."
    )
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables.")


class Engine(Section):
    """The serving software and its settings."""

    name: EngineName = Field(default="vllm", description="Which engine.")
    version: EngineVersion = Field(
        default=ENGINE_VERSIONS["vllm"],
        description="Its version; rules and images follow it. By default the newest known here.",
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
        "negation, a mapping is passed as JSON. vLLM's names are read by every engine that "
        "has a counterpart; an engine's own names are passed as they are.",
    )
    extra_engine_args: str | None = Field(
        default=None,
        min_length=1,
        description="A YAML file beside the profile whose arguments are laid below `args`: vLLM's "
        "own, or TensorRT-LLM's settings (the file of trtllm-serve --config), which are "
        "converted. The resolved profile holds the arguments in its place.",
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Environment variables of the engine."
    )
    specific: dict[EngineName, Specific] = Field(
        default_factory=dict,
        description="Settings for one engine only, e.g. specific.tgi.args, for profiles that "
        "run on several.",
    )

    @model_validator(mode="before")
    @classmethod
    def newest_version(cls, data: Any) -> Any:
        """Without a version, the newest known one of that engine."""
        if not isinstance(data, dict) or data.get("version") is not None:
            return data
        known = ENGINE_VERSIONS.get(str(data.get("name", "vllm")))
        return {**data, "version": known} if known else data
