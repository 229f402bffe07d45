"""Reasoning parsers: what separates a model's reasoning from its answer."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule

PARSER = "engine.args.reasoning_parser"


@rule(
    "reasoning.unknown-parser",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="validate_api_server_args raises KeyError: invalid reasoning parser; the names are "
    "those that the version registers.",
)
def unknown_parser(case: Case) -> Iterator[Hit]:
    """The reasoning parser must be one of the engine's version, or come from a plugin."""
    release = case.release
    config = case.section("structured_outputs_config") or {}
    places = (
        (PARSER, case.args.get("reasoning_parser")),
        ("engine.args.structured_outputs_config.reasoning_parser", config.get("reasoning_parser")),
    )
    for place, named in places:
        if not isinstance(named, str) or not named or not release.reasoning_parsers:
            continue
        plugin = case.args.get("reasoning_parser_plugin") or config.get("reasoning_parser_plugin")
        if named in release.reasoning_parsers or plugin:
            continue
        newer = release.newest and not release.exact
        names = ", ".join(sorted(release.reasoning_parsers))
        yield Hit(
            place,
            f"{named} is no reasoning parser of vLLM {release.version}"
            + (f", the newest that is known here ({case.version} may have it)." if newer else "."),
            f"Use one of {names}, or remove the line.",
            (Change(place, REMOVE, "reasoning stays in the answer's text"),),
            severity="warning" if newer else None,
        )


@rule(
    "reasoning.two-parsers",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="EngineArgs copies reasoning_parser into structured_outputs_config, over what "
    "stands there.",
    versions=">=0.11",
)
def two_parsers(case: Case) -> Iterator[Hit]:
    """A reasoning parser named in two places with two names is one too many."""
    outer = case.args.get("reasoning_parser")
    if not outer or "structured_outputs_config" not in case.args:
        return
    inner = (case.section("structured_outputs_config") or {}).get("reasoning_parser")
    if inner and inner != outer:
        place = "engine.args.structured_outputs_config.reasoning_parser"
        yield Hit(
            place,
            f"it names {inner}, and engine.args.reasoning_parser, which wins, names {outer}.",
            "Keep one of them.",
            (Change(place, REMOVE, "engine.args.reasoning_parser wins anyway"),),
        )
