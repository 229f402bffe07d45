"""The `workload` section of a profile: what is asked (docs/load.md, docs/datasets.md)."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from runners.errors import UsageError
from runners.load.dialects import DIALECTS, Question
from runners.profiles.engine_section import Json
from runners.profiles.section import Positive, Section

# The choices are those there are dialects for; a type checker cannot know them.
if TYPE_CHECKING:
    Api = str
else:
    Api = Literal[tuple(DIALECTS)]

Source = Literal["spec-bench", "sharegpt", "jsonl", "corpus"]
Turns = Literal["first", "all", "recorded"]
Task = Literal["summarise", "write", "rewrite"]

# Keys of `dataset` that only some sources have a use for.
_SOURCES_OF: dict[str, tuple[Source, ...]] = {
    "categories": ("spec-bench", "jsonl"),
    "groups": ("spec-bench",),
    "turns": ("spec-bench", "sharegpt", "jsonl"),
    "limit": ("spec-bench", "sharegpt", "jsonl"),
    "shuffle_seed": ("spec-bench", "sharegpt", "jsonl"),
    "max_characters": ("spec-bench", "sharegpt", "jsonl"),
    "fields": ("jsonl",),
    "tasks": ("corpus",),
}


class SharedPrefix(Section):
    """Prompts that begin alike, in groups."""

    groups: Positive = Field(default=1, description="How many different prefixes.")
    tokens: Positive = Field(description="Length of each prefix in tokens.")


class Length(Section):
    """A share of the requests, and how long they are."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(description="Of all requests.")
    input_tokens: Positive = Field(
        description="Length of the whole prompt in tokens, a shared prefix included."
    )
    max_tokens: Positive | None = Field(
        default=None, description="Longest answer; by default workload.max_tokens."
    )


class Fields(Section):
    """What the fields of a JSONL file are called."""

    prompt: str = Field(default="prompt", min_length=1, description="A text.")
    messages: str = Field(
        default="messages", min_length=1, description="A list of {role, content}, as in OpenAI's."
    )
    turns: str = Field(
        default="turns", min_length=1, description="A list of what the user says, turn by turn."
    )
    max_tokens: str = Field(
        default="max_tokens",
        min_length=1,
        description="Longest answer; where a line has none, workload.max_tokens.",
    )
    category: str = Field(
        default="category", min_length=1, description="What `categories` chooses by."
    )


class Dataset(Section):
    """Prompts from a file."""

    source: Source = Field(
        description="spec-bench: its question.jsonl; sharegpt: a JSON list of conversations; "
        "jsonl: any file with a JSON object per line; corpus: your own texts, of which tasks "
        "of any length are made."
    )
    file: str = Field(
        min_length=1,
        description="Path beside the profile or from the working directory; for corpus also a "
        "folder, of which every .txt and .md file is read.",
    )
    categories: list[str] = Field(
        default_factory=list, description="Only these (spec-bench, jsonl); by default all."
    )
    groups: list[
        Literal["multi-turn", "translation", "summarization", "qa", "math_reasoning", "rag"]
    ] = Field(default_factory=list, description="Only these of Spec-Bench's six; by default all.")
    turns: Turns | None = Field(
        default=None,
        description="Of a conversation. first: what the user says first; all: every turn, a "
        "request each, with the answers to those before; recorded: its last turn, with what was "
        "answered when it was recorded. By default first, and recorded where a JSONL line has "
        "messages.",
    )
    limit: Positive | None = Field(
        default=None, description="Use so many entries (of a conversation, all its turns)."
    )
    shuffle_seed: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Take entries in this random order, the same in every run; by default in "
        "that of the file.",
    )
    max_characters: Positive | None = Field(
        default=None,
        description="Leave out entries with more text (a token is about four characters).",
    )
    fields: Fields = Field(default_factory=Fields, description="Names of a JSONL file's fields.")
    tasks: list[Task] = Field(
        default_factory=list,
        description="What is asked of a corpus: to summarise a passage, to write on from it, to "
        "rewrite it; by default all three in turn.",
    )

    @model_validator(mode="after")
    def keys_of_its_source(self) -> "Dataset":
        for key, sources in _SOURCES_OF.items():
            if key in self.model_fields_set and self.source not in sources:
                value = getattr(self, key)
                if value not in (None, []) and value != Fields():
                    raise ValueError(
                        f"{key} has no meaning for source {self.source}; "
                        f"it is for {' and '.join(sources)}"
                    )
        if self.source == "spec-bench" and self.turns == "recorded":
            raise ValueError("Spec-Bench has no recorded answers; turns is first or all")
        return self


class Workload(Section):
    """What is asked."""

    kind: Literal["synthetic", "prompts", "dataset"] = Field(
        default="synthetic",
        description="synthetic: generated prompts; prompts: the list below; dataset: from a file.",
    )
    api: Api = Field(
        default="chat",
        description="Which API: OpenAI's chat or completions; tgi: TGI's generate_stream; "
        "triton: Triton's generate extension; oip: that of the Open Inference Protocol.",
    )
    input_tokens: Positive = Field(
        default=128, description="Mean prompt length (synthetic, corpus), in tokens."
    )
    input_tokens_stdev: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Its standard deviation; 0 makes every prompt equally long."
    )
    max_tokens: Positive = Field(default=64, description="Longest answer, in tokens.")
    lengths: list[Length] = Field(
        default_factory=list,
        description="Mixed lengths in fixed proportions, in place of input_tokens.",
    )
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
    dataset: Dataset | None = Field(default=None, description="The file, for kind dataset.")
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
        if (self.kind == "dataset") != (self.dataset is not None):
            raise ValueError("kind dataset and the section `dataset` go together")
        return self

    @model_validator(mode="after")
    def made_prompts_only(self) -> "Workload":
        """What shapes made-up prompts must not be said, without effect, of texts from a file."""
        if self.kind == "dataset" and (self.shared_prefix or self.repetition):
            raise ValueError("shared_prefix and repetition are for kind synthetic")
        if not self.lengths:
            return self
        if not self.has_made_lengths:
            raise ValueError("lengths are for synthetic prompts and tasks of a corpus")
        if self.input_tokens_stdev:
            raise ValueError("give lengths or input_tokens_stdev, not both")
        total = sum(each.share for each in self.lengths)
        if abs(total - 1) > 1e-3:
            raise ValueError(f"the shares of lengths add up to {total:g}, not to 1")
        return self

    @model_validator(mode="after")
    def the_api_can_do_it(self) -> "Workload":
        question = Question("", "", 1, stream=self.stream, ignore_eos=self.ignore_eos)
        try:
            DIALECTS[self.api].body(question)
        except UsageError as error:
            raise ValueError(str(error)) from error
        turns = self.dataset.turns if self.dataset else None
        if turns in ("all", "recorded") and self.api != "chat":
            raise ValueError(f"dataset.turns {turns} needs api chat: {self.api} has no messages")
        return self

    @property
    def has_made_lengths(self) -> bool:
        """Whether prompts are made to a length, and every seed has others."""
        of_corpus = self.dataset is not None and self.dataset.source == "corpus"
        return self.kind == "synthetic" or of_corpus

    def mean_input_tokens(self) -> float:
        """Of prompts that are made to a length, a shared prefix included."""
        if self.lengths:
            total = sum(each.share for each in self.lengths)
            return sum(each.share * each.input_tokens for each in self.lengths) / total
        return self.input_tokens + (self.shared_prefix.tokens if self.shared_prefix else 0)

    def mean_max_tokens(self) -> float:
        """Of the longest answers that are asked for; rows of a file may have others."""
        if not self.lengths:
            return self.max_tokens
        total = sum(each.share for each in self.lengths)
        asked = [each.share * (each.max_tokens or self.max_tokens) for each in self.lengths]
        return sum(asked) / total
