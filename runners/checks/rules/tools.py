"""Tool calls: the parser that turns a model's text into them."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.rules.scheduler import is_on

PARSER = "engine.args.tool_call_parser"
# Words in a model's name, the more specific first, and the parsers of that family in order of
# preference: the first that the engine's version knows is taken.
FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("gpt-oss",), ("openai",)),
    (("qwen3", "coder"), ("qwen3_coder", "qwen3_xml", "hermes")),
    (("qwen", "qwq", "hermes"), ("hermes",)),
    (("llama-4", "llama4"), ("llama4_pythonic", "pythonic", "llama4_json")),
    (("llama-3", "llama3"), ("llama3_json",)),
    (("mistral", "mixtral", "ministral", "devstral", "magistral"), ("mistral",)),
    (("granite-20b",), ("granite-20b-fc",)),
    (("granite-4",), ("granite4", "hermes")),
    (("granite",), ("granite",)),
    (("deepseek-v4.1",), ("deepseek_v41",)),
    (("deepseek-v4",), ("deepseek_v4",)),
    (("deepseek-v3.2",), ("deepseek_v32", "deepseek_v31")),
    (("deepseek-v3.1",), ("deepseek_v31",)),
    (("deepseek-v3", "deepseek-r1-0528"), ("deepseek_v3",)),
    (("kimi-k3",), ("kimi_k3",)),
    (("kimi-k2",), ("kimi_k2",)),
    (("glm-4.7", "glm-5"), ("glm47", "glm45")),
    (("glm-4.5", "glm-4.6"), ("glm45",)),
    (("minimax-m3",), ("minimax_m3",)),
    (("minimax-m2",), ("minimax_m2",)),
    (("gemma-4", "gemma4"), ("gemma4",)),
    (("functiongemma",), ("functiongemma",)),
    (("phi-4-mini",), ("phi4_mini_json",)),
    (("internlm",), ("internlm",)),
    (("jamba",), ("jamba",)),
    (("olmo-3",), ("olmo3",)),
    (("seed-oss",), ("seed_oss",)),
    (("xlam",), ("xlam",)),
    (("hunyuan-a13b",), ("hunyuan_a13b",)),
    (("ernie-4.5",), ("ernie45",)),
    (("step-3.5",), ("step3p5",)),
    (("step3",), ("step3",)),
)
# The two words of these families must both be there.
_BOTH = {("qwen3", "coder")}
# Derived models carry the name of what they were made from.
_DISTILLED = "distill"


def family_parser(case: Case) -> str | None:
    """The parser of the family that the model's name tells; None: it tells none, or unknown."""
    model = case.profile.model
    name = f"{model.uri.rstrip('/').rpartition('/')[2]} {model.name or ''}".lower()
    if _DISTILLED in name:
        return None
    known = case.release.tool_parsers
    for words, parsers in FAMILIES:
        found = all if words in _BOTH else any
        if found(word in name for word in words):
            return next((parser for parser in parsers if not known or parser in known), None)
    return None


@rule(
    "tools.no-parser",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="validate_parsed_serve_args raises TypeError: --enable-auto-tool-choice requires "
    "--tool-call-parser.",
)
def no_parser(case: Case) -> Iterator[Hit]:
    """enable_auto_tool_choice needs a tool_call_parser."""
    if not is_on(case, "enable_auto_tool_choice") or case.args.get("tool_call_parser"):
        return
    known = family_parser(case)
    parser = known or "hermes"
    yield Hit(
        "engine.args.enable_auto_tool_choice",
        "the engine exits: automatic tool choice needs the parser of the model's tool calls.",
        f"tool_call_parser: {parser}",
        (
            Change(
                PARSER,
                parser,
                "the parser of the model's family"
                if known
                else "the most common format; the model's name does not tell its own",
            ),
        ),
    )


@rule(
    "tools.unknown-parser",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="validate_api_server_args raises KeyError: invalid tool call parser, where automatic "
    "tool choice is on; the names are those that the version registers.",
)
def unknown_parser(case: Case) -> Iterator[Hit]:
    """The tool parser must be one of the engine's version, or come from a plugin."""
    named, release = case.args.get("tool_call_parser"), case.release
    if not isinstance(named, str) or not named or not release.tool_parsers:
        return
    if named in release.tool_parsers or case.args.get("tool_parser_plugin"):
        return
    newer = release.newest and not release.exact
    unused = not is_on(case, "enable_auto_tool_choice")
    parser = family_parser(case)
    names = ", ".join(sorted(release.tool_parsers))
    yield Hit(
        PARSER,
        f"{named} is no tool parser of vLLM {release.version}"
        + (f", the newest that is known here ({case.version} may have it)." if newer else "."),
        f"tool_call_parser: {parser}" if parser else f"Use one of {names}.",
        (Change(PARSER, parser, "the parser of the model's family"),) if parser else (),
        severity="warning" if newer or unused else None,
    )


@rule(
    "tools.other-family",
    severity="warning",
    fails="silently",
    basis="documents",
    evidence="vLLM's documentation of tool calling names the parser of each model family; text "
    "that another parser does not understand stays content.",
)
def other_family(case: Case) -> Iterator[Hit]:
    """A parser of another model family finds no tool calls in the answers."""
    named = case.args.get("tool_call_parser")
    if not isinstance(named, str) or named not in case.release.tool_parsers:
        return
    usual = family_parser(case)
    if usual is None or named == usual or _akin(named, usual):
        return
    yield Hit(
        PARSER,
        f"the model's name points to the parser {usual}; {named} may find no tool calls.",
        f"tool_call_parser: {usual}",
    )


@rule(
    "tools.parser-unused",
    severity="warning",
    fails="silently",
    basis="source",
    evidence="OpenAI serving builds a tool parser for tool_choice auto only with "
    "enable_auto_tools.",
    versions="<0.12",
)
def parser_unused(case: Case) -> Iterator[Hit]:
    """A tool_call_parser without enable_auto_tool_choice does nothing."""
    if case.args.get("tool_call_parser") and not is_on(case, "enable_auto_tool_choice"):
        yield Hit(
            PARSER,
            "the parser is used only with automatic tool choice, which is off.",
            "enable_auto_tool_choice: true",
            (Change("engine.args.enable_auto_tool_choice", True, "so that the parser is used"),),
        )


@rule(
    "tools.request",
    severity="error",
    fails="on each request",
    basis="source",
    evidence='OnlineRenderer: "auto" tool choice requires --enable-auto-tool-choice and '
    "--tool-call-parser to be set (400); Mistral tokenizers and harmony models are exempt.",
)
def request(case: Case) -> Iterator[Hit]:
    """Requests with tools need automatic tool choice in the engine, or tool_choice none."""
    body = case.profile.workload.extra_body
    if not body.get("tools") or case.profile.workload.api != "chat":
        return
    choice = body.get("tool_choice", "auto")
    if choice in (None, "none") or is_on(case, "enable_auto_tool_choice"):
        return
    if choice != "auto" and (case.args.get("tool_call_parser") or not case.at_least(0, 28)):
        return
    name = case.profile.model.uri.lower()
    exempt = "gpt-oss" in name or case.args.get("tokenizer_mode") == "mistral"
    if exempt or ("mistral" in name and "tokenizer_mode" not in case.args):
        return
    parser = family_parser(case) or "hermes"
    yield Hit(
        "workload.extra_body.tools",
        "requests bring tools, but the engine is not started with automatic tool choice: each is "
        "answered with 400.",
        f"engine.args: {{enable_auto_tool_choice: true, tool_call_parser: {parser}}}",
        (
            Change("engine.args.enable_auto_tool_choice", True, "as the requests ask"),
            Change(PARSER, parser, "by the model's name"),
        ),
    )


@rule(
    "tools.log-outputs",
    severity="error",
    fails="at start-up",
    basis="source",
    evidence="validate_parsed_serve_args raises TypeError: --enable-log-outputs requires "
    "--enable-log-requests.",
    versions=">=0.10.1",
)
def log_outputs(case: Case) -> Iterator[Hit]:
    """enable_log_outputs needs enable_log_requests."""
    if is_on(case, "enable_log_outputs") and not is_on(case, "enable_log_requests"):
        yield Hit(
            "engine.args.enable_log_outputs",
            "the engine exits: it logs answers only together with requests.",
            "Remove enable_log_outputs; logging every answer also costs speed.",
            (Change("engine.args.enable_log_outputs", REMOVE, "nothing is logged"),),
        )


@rule(
    "tools.template",
    severity="warning",
    fails="in the results",
    basis="source",
    evidence="There is no check of the chat template at start-up; one that does not mention "
    "`tools` drops them from the prompt.",
)
def template(case: Case) -> Iterator[Hit]:
    """A chat template that ignores `tools` asks the model without them."""
    if not is_on(case, "enable_auto_tool_choice") or not case.profile.model.chat_template:
        return
    try:
        text = (case.folder / case.profile.model.chat_template).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    if "tools" not in text:
        yield Hit(
            "model.chat_template",
            "the template never mentions tools, so the model does not see them.",
            "Use the template that the model's maker gives for tool calls.",
        )


def _akin(named: str, usual: str) -> bool:
    """Parsers of one family, as llama4_json and llama4_pythonic."""
    if "hf" in (named, usual) or {named, usual} <= {
        "hermes",
        "qwen3_xml",
        "qwen3_json",
        "qwen3_coder",
    }:
        return True
    start = usual.replace("-", "_").partition("_")[0]
    return named.startswith(start) or {named, usual} <= {"llama4_pythonic", "pythonic"}
