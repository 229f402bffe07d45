"""Structured output: grammars that answers must follow."""

from collections.abc import Iterator, Mapping
from typing import Any

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

CONFIG = "engine.args.structured_outputs_config"
# Keys of a request that ask for structured output, today's and those before 0.12.
_TODAY = ("structured_outputs", "response_format")
_OLDER = {
    "guided_json": "json",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_whitespace_pattern": "whitespace_pattern",
}


def backend(case: Case) -> str | None:
    """The grammar backend that the engine is started with; auto where it is not named."""
    config = case.section("structured_outputs_config")
    named = case.args.get("guided_decoding_backend") if config is None else config.get("backend")
    if named is None:
        return "auto"
    return named.partition(":")[0] if isinstance(named, str) else None


def asks(case: Case) -> bool:
    """Whether requests ask for structured output."""
    body = case.profile.workload.extra_body
    return any(body.get(key) is not None for key in (*_TODAY, *_OLDER))


@rule(
    "structured.backend",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="StructuredOutputsConfig.backend is one of a few literal names; any other is a "
    "validation error.",
)
def known_backend(case: Case) -> Iterator[Hit]:
    """The structured output backend must be one that the engine's version knows."""
    if "structured_outputs_config" not in case.args and (
        "guided_decoding_backend" not in case.args
    ):
        return
    named, release = backend(case), case.release
    if named is None or named in release.structured_backends or not release.structured_backends:
        return
    key = "guided_decoding_backend"
    place = f"engine.args.{key}" if key in case.args else f"{CONFIG}.backend"
    names = ", ".join(sorted(release.structured_backends))
    newer = release.newest and not release.exact
    yield Hit(
        place,
        f"{named} is no structured output backend of vLLM {case.version}.",
        f"backend: auto (or one of {names})",
        (Change(place, "auto" if "auto" in names else "xgrammar", "the engine chooses"),),
        severity="warning" if newer else None,
    )


def _only_with(case: Case, option: str, backends: tuple[str, ...]) -> Iterator[Hit]:
    config = case.section("structured_outputs_config")
    if not config or config.get(option) is not True:
        return
    named = backend(case)
    if named in backends:
        return
    yield Hit(
        f"{CONFIG}.{option}",
        f"{option} needs the backend to be named, as {' or '.join(backends)}; it is {named}.",
        f"structured_outputs_config: {{backend: {backends[0]}, {option}: true}}",
        (Change(f"{CONFIG}.backend", backends[0], f"a backend with {option}"),),
    )


@rule(
    "structured.any-whitespace",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="StructuredOutputsConfig: disable_any_whitespace is only supported for xgrammar and "
    "guidance backends; auto fails too.",
)
def any_whitespace(case: Case) -> Iterator[Hit]:
    """disable_any_whitespace needs the backend xgrammar or guidance, named explicitly."""
    yield from _only_with(case, "disable_any_whitespace", ("xgrammar", "guidance"))


@rule(
    "structured.additional-properties",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="StructuredOutputsConfig: disable_additional_properties is only supported for the "
    "guidance backend.",
)
def additional_properties(case: Case) -> Iterator[Hit]:
    """disable_additional_properties needs the backend guidance."""
    yield from _only_with(case, "disable_additional_properties", ("guidance",))


@rule(
    "structured.request-backend",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="A server of vLLM 0.32 answers a request with _backend as one without it; up to 0.11 "
    "a backend other than the engine's was refused (request-level backend selection).",
    versions=">=0.10",
)
def request_backend(case: Case) -> Iterator[Hit]:
    """A request cannot choose its own structured output backend."""
    body = case.profile.workload.extra_body
    asked = body.get("structured_outputs")
    if isinstance(asked, Mapping) and "_backend" in asked:
        yield Hit(
            "workload.extra_body.structured_outputs",
            "a request cannot choose its backend: the engine's own is used.",
            "Remove _backend, and write structured_outputs_config: {backend: …} in engine.args.",
        )
    if "guided_decoding_backend" in body:
        yield Hit(
            "workload.extra_body.guided_decoding_backend",
            "a request cannot choose its backend: it is ignored, or up to 0.11 refused where it is "
            "not the engine's.",
            "Remove it, and write structured_outputs_config: {backend: …} in engine.args.",
            (Change("workload.extra_body.guided_decoding_backend", REMOVE),),
        )


@rule(
    "structured.older-request",
    severity="error",
    fails="in the results",
    basis="executed",
    evidence="A server of vLLM 0.32 answers guided_json with 200 and unconstrained text, as it "
    "takes unknown fields (vllm-project/vllm#53975).",
    versions=">=0.12",
)
def older_request(case: Case) -> Iterator[Hit]:
    """guided_json and its like in a request are ignored since 0.12, so nothing is constrained."""
    body = case.profile.workload.extra_body
    for key, now in _OLDER.items():
        if body.get(key) is None:
            continue
        yield Hit(
            f"workload.extra_body.{key}",
            f"vLLM {case.version} ignores {key}: answers are free text and the run measures that.",
            f"structured_outputs: {{{now}: …}}",
            (
                Change(f"workload.extra_body.structured_outputs.{now}", body[key]),
                Change(f"workload.extra_body.{key}", REMOVE),
            ),
        )


@rule(
    "structured.newer-request",
    severity="error",
    fails="in the results",
    basis="history",
    evidence="The request field structured_outputs came with vLLM 0.11 "
    "(vllm-project/vllm#22772); before, it is an unknown field and ignored.",
    versions="<0.11",
)
def newer_request(case: Case) -> Iterator[Hit]:
    """structured_outputs in a request is not known before 0.11, so nothing is constrained."""
    asked = case.profile.workload.extra_body.get("structured_outputs")
    if asked is None:
        return
    older = {now: key for key, now in _OLDER.items()}
    names = [older[key] for key in asked if key in older] if isinstance(asked, Mapping) else []
    yield Hit(
        "workload.extra_body.structured_outputs",
        f"vLLM {case.version} ignores structured_outputs: answers are free text.",
        f"{names[0] if names else 'guided_json'}: …",
    )


@rule(
    "structured.no-tokenizer",
    severity="error",
    fails="on each request",
    basis="source",
    evidence="SamplingParams: structured outputs requires a tokenizer so it can't be used with "
    "skip_tokenizer_init.",
)
def no_tokenizer(case: Case) -> Iterator[Hit]:
    """Structured output needs the engine's tokenizer."""
    if case.args.get("skip_tokenizer_init") is True and asks(case):
        yield Hit(
            "engine.args.skip_tokenizer_init",
            "requests ask for structured output, which needs the tokenizer that is skipped.",
            "Remove skip_tokenizer_init.",
            (Change("engine.args.skip_tokenizer_init", REMOVE),),
        )


@rule(
    "structured.tokenizer",
    severity="warning",
    fails="on each request",
    basis="source",
    evidence="SamplingParams: guidance takes fast Hugging Face and Tekken tokenizers only; "
    "lm-format-enforcer takes no Mistral tokenizer.",
)
def tokenizer(case: Case) -> Iterator[Hit]:
    """guidance needs a fast tokenizer, lm-format-enforcer one that is not Mistral's."""
    mode = case.args.get("tokenizer_mode")
    if mode not in ("slow", "mistral"):
        return
    named = backend(case)
    if (named == "guidance" and mode == "slow") or (
        named == "lm-format-enforcer" and mode == "mistral"
    ):
        yield Hit(
            "engine.args.tokenizer_mode",
            f"the backend {named} answers 400 to structured output with a {mode} tokenizer.",
            "Remove tokenizer_mode, or use backend: xgrammar.",
            (Change(f"{CONFIG}.backend", "xgrammar", "takes any tokenizer"),),
        )


@rule(
    "structured.schema",
    severity="error",
    fails="on each request",
    basis="executed",
    evidence="A server of vLLM 0.32 answers 400: you can only use one kind of constraints "
    "(StructuredOutputsParams also refuses none).",
    versions=">=0.11",
)
def one_constraint(case: Case) -> Iterator[Hit]:
    """A request takes exactly one kind of constraint."""
    asked: Any = case.profile.workload.extra_body.get("structured_outputs")
    if not isinstance(asked, Mapping):
        return
    kinds = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
    given = [kind for kind in kinds if asked.get(kind) is not None]
    if len(given) != 1:
        yield Hit(
            "workload.extra_body.structured_outputs",
            f"it takes one kind of constraint and gives {', '.join(given) or 'none'}.",
            f"Keep one of {', '.join(given or kinds)}.",
        )
