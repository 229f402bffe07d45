"""Lengths: what a request needs, what the server takes and what the model was made for."""

from collections.abc import Iterator
from dataclasses import dataclass

from runners.checks.amounts import whole
from runners.checks.case import Case
from runners.checks.entries import entries_of
from runners.checks.rule import Change, Hit, rule

_ENGINES = ("vllm", "tgi", "tensorrt-llm")
# The engine's own name for prompt and answer together, before the neutral one.
_OWN_NAMES = {"tgi": ("max_total_tokens",), "tensorrt-llm": ("max_seq_len",)}
_CHARACTERS_PER_TOKEN = 4
_TEMPLATE_TOKENS = 40


@dataclass(frozen=True)
class Need:
    """Tokens of one request: of its prompt, the longest likely one, and of its answer.

    key: where the profile says how long it is. guessed: counted in characters.
    """

    prompt: int
    longest: int
    answer: int
    key: str = "workload.input_tokens"
    guessed: bool = False


def need(case: Case) -> Need | None:
    """What one request needs; None where a trace brings the lengths, or an unread file.

    The longest likely synthetic prompt is three standard deviations above the mean; texts
    count a token for every four characters. Of mixed lengths and datasets, the request that
    needs most.
    """
    work = case.profile.workload
    if case.profile.load.resolved_pattern() == "trace":
        return None
    if work.kind == "prompts":
        longest = max(map(len, work.prompts)) // _CHARACTERS_PER_TOKEN
        return Need(longest, longest, work.max_tokens, "workload.prompts", guessed=True)
    if work.dataset is not None and not work.has_made_lengths:
        return _need_of_entries(case)
    if work.lengths:
        sizes = [(each.input_tokens, each.max_tokens or work.max_tokens) for each in work.lengths]
        prompt, answer = max(sizes, key=sum)
        return Need(prompt, prompt, answer, "workload.lengths")
    shared = work.shared_prefix.tokens if work.shared_prefix else 0
    mean = work.input_tokens + shared
    return Need(mean, mean + round(3 * work.input_tokens_stdev), work.max_tokens)


def _need_of_entries(case: Case) -> Need | None:
    """A later turn also carries the answers before it."""
    read, work = entries_of(case), case.profile.workload
    if read is None:
        return None
    needs = []
    for entry in read.entries:
        answer = entry.max_tokens or work.max_tokens
        prompt = entry.characters // _CHARACTERS_PER_TOKEN + (len(entry.turns) - 1) * answer
        needs.append(Need(prompt, prompt, answer, "workload.dataset", guessed=True))
    return max(needs, key=lambda need: need.prompt + need.answer)


def limit(case: Case) -> int | None:
    """Tokens that the server takes for prompt and answer together; None: not known."""
    for name in (*_OWN_NAMES.get(case.engine, ()), "max_model_len"):
        given = whole(case.args.get(name))
        if given is not None and given > 0:
            return given
    if "max_model_len" in case.args or case.engine != "vllm":
        return None
    return case.model.max_length if case.model else None


@rule(
    "length.request-too-long",
    severity="error",
    fails="on each request",
    basis="executed",
    evidence="Asked of a server of vLLM 0.32: 400 for max_tokens above max_model_len and for a "
    "prompt as long as it; up to 0.31 also when both together exceed it (max_input_tokens = "
    "max_total_tokens - max_output_tokens). TGI: `inputs` tokens + "
    "`max_new_tokens` must be <= max_total_tokens.",
    engines=_ENGINES,
)
def request_too_long(case: Case) -> Iterator[Hit]:
    """Prompt and answer of a request must fit into the context that the server was given."""
    asked, room = need(case), limit(case)
    if asked is None or room is None:
        return
    alone = case.engine == "tensorrt-llm" or (case.engine == "vllm" and case.at_least(0, 32))
    if asked.answer > room and case.engine == "vllm":
        yield Hit(
            "workload.max_tokens",
            f"asks for {asked.answer} tokens where the server's context is {room}.",
            f"max_tokens: {max(1, room - asked.prompt)} or fewer",
        )
    elif asked.prompt >= room:
        yield Hit(
            asked.key,
            f"a prompt of {_about(asked)}{asked.prompt} tokens does not fit into the server's "
            f"context of {room}.",
            f"Give the server {asked.prompt + asked.answer} tokens (max_model_len), or shorten it.",
            severity="warning" if asked.guessed else None,
        )
    elif asked.prompt + asked.answer > room and not alone:
        yield Hit(
            "workload.max_tokens",
            f"{_about(asked)}{asked.prompt} tokens of prompt and {asked.answer} of answer exceed "
            f"the server's context of {room}: it refuses such a request.",
            f"max_tokens: {room - asked.prompt}, or max_model_len: {asked.prompt + asked.answer}",
            severity="warning" if asked.guessed else None,
        )


@rule(
    "length.answer-cut",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="Asked of a server of vLLM 0.32: 200 tokens of prompt and max_tokens 100 in a context "
    "of 256 give 56 tokens and status 200 (get_max_tokens takes what the prompt leaves); "
    "TensorRT-LLM deduces max_tokens from max_seq_len in the same way.",
    engines=("vllm", "tensorrt-llm"),
)
def answer_cut(case: Case) -> Iterator[Hit]:
    """An answer that does not fit behind its prompt is cut short without a word."""
    if case.engine == "vllm" and not case.at_least(0, 32):
        return
    asked, room = need(case), limit(case)
    if asked is None or room is None or asked.answer > room or asked.prompt >= room:
        return
    if asked.prompt + asked.answer > room:
        yield Hit(
            "workload.max_tokens",
            f"{_about(asked)}{asked.prompt} tokens of prompt leave {room - asked.prompt} of the "
            f"context of {room} for an answer of {asked.answer}: the engine cuts it there.",
            f"max_tokens: {room - asked.prompt}, or max_model_len: {asked.prompt + asked.answer}",
        )


@rule(
    "length.near-limit",
    severity="warning",
    fails="on each request",
    basis="arithmetic",
    evidence="Prompt lengths vary with input_tokens_stdev, and a chat template's own tokens come "
    "on top of the prompt's.",
    engines=_ENGINES,
)
def near_limit(case: Case) -> Iterator[Hit]:
    """Some requests may be too long: prompts vary, and the chat template adds its own tokens."""
    asked, room = need(case), limit(case)
    if asked is None or room is None or asked.prompt + asked.answer > room:
        return
    template = _TEMPLATE_TOKENS if case.profile.workload.api == "chat" else 0
    most = asked.longest + template + asked.answer
    if most > room:
        yield Hit(
            "workload.max_tokens",
            f"the longest requests need about {most} tokens (prompt up to {asked.longest}, "
            f"{template} for the chat template, answer {asked.answer}) of a context of {room}.",
            f"max_model_len: {most} or more, or max_tokens: {max(1, asked.answer - most + room)}",
        )


@rule(
    "length.input-limit",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="TGI router/src/validation.rs: `inputs` must have less than max_input_tokens tokens; "
    "TensorRT-LLM's max_input_len refuses longer prompts.",
    engines=("tgi", "tensorrt-llm"),
)
def input_limit(case: Case) -> Iterator[Hit]:
    """A prompt must not be longer than the server's limit of input tokens."""
    asked = need(case)
    if asked is None or asked.guessed:
        return
    for name in ("max_input_tokens", "max_input_length", "max_input_len"):
        most = whole(case.args.get(name))
        if most is not None and 0 < most < asked.prompt:
            yield Hit(
                f"engine.args.{name}",
                f"prompts have {asked.prompt} tokens, and the server takes {most}.",
                f"{name}: {asked.longest}",
                (Change(f"engine.args.{name}", asked.longest, "the longest likely prompt"),),
            )


@rule(
    "length.above-model",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="_get_and_verify_max_len: user-specified max_model_len is greater than the derived "
    "max_model_len of the model's config.json; VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 overrides it.",
)
def above_model(case: Case) -> Iterator[Hit]:
    """max_model_len cannot be above the length that the model was made for."""
    asked = whole(case.args.get("max_model_len"))
    if asked is None or asked <= 0 or case.model is None or "hf_overrides" in case.args:
        return
    most = case.model.max_length
    allowed = case.environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0").lower() in ("1", "true")
    if most is not None and asked > most:
        yield Hit(
            "engine.args.max_model_len",
            f"{asked} tokens are more than the {most} that the model was made for"
            + (", and positions beyond them give nonsense." if allowed else "."),
            f"max_model_len: {most}",
            (Change("engine.args.max_model_len", most, "the model's own length"),),
            severity="warning" if allowed else None,
        )


@rule(
    "length.auto",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="max_model_len -1 or auto lets the engine fit the length to the free memory of the "
    "GPU at start-up.",
)
def auto(case: Case) -> Iterator[Hit]:
    """max_model_len auto follows the GPU's free memory, so runs on two GPUs do not compare."""
    given = case.args.get("max_model_len")
    if given in (-1, "-1") or (isinstance(given, str) and given.lower() == "auto"):
        asked = need(case)
        enough = 4096 if asked is None else max(2048, asked.longest + asked.answer)
        yield Hit(
            "engine.args.max_model_len",
            "auto takes what fits into the GPU's free memory, which changes from GPU to GPU.",
            f"max_model_len: {enough}",
        )


def _about(asked: Need) -> str:
    return "about " if asked.guessed else ""
