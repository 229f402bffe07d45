"""speculative_config: what each decoding type becomes, and its keys.

A type is one entry of KINDS. The draft's path bears four names over TensorRT-LLM's releases
(PATHS, newest first), the number of draft tokens three.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from runners.checks.models import read_model_config
from runners.checks.tables import engine_options
from runners.convert.outcome import Outcome, Row, approximate, exact, needs, nothing
from runners.convert.schedule import draft_len_schedule, max_concurrency
from runners.convert.settings import Settings
from runners.convert.speculation_keys import NGRAM, TUNING, rejection
from runners.errors import UsageError

SECTION = "speculative_config"
PATHS = (
    "speculative_model",
    "speculative_model_dir",
    "pytorch_weights_path",
    "pytorch_eagle_weights_path",
)
TOKENS = ("max_draft_len", "num_nextn_predict_layers", "prompt_lookup_num_tokens")


@dataclass(frozen=True)
class Kind:
    """One decoding type. method: vLLM's. since: the first version that runs it.

    draft: whether a draft model belongs to it. fixed: further keys that it always has.
    note: how vLLM's differs; empty where it does not. impossible: why there is none.
    """

    method: str = ""
    since: tuple[int, ...] = (0,)
    draft: Literal["needed", "possible", "none"] = "needed"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    impossible: str = ""


_ALONE = "its drafting code belongs to TensorRT-LLM; see vLLM's method custom_class"
KINDS: dict[str, Kind] = {
    "Eagle": Kind("eagle"),
    "Eagle3": Kind("eagle3", (0, 8, 5)),
    "MTP": Kind("mtp", draft="possible"),
    "NGram": Kind("ngram", draft="none"),
    "Draft_Target": Kind("draft_model"),
    "PARD": Kind("draft_model", (0, 16), fixed={"parallel_drafting": True}),
    "DFlash": Kind("dflash", (0, 20, 2)),
    "DSpark": Kind("dspark", (0, 25, 1), draft="possible"),
    "SA": Kind(
        "suffix",
        (0, 11, 1),
        draft="none",
        note="another algorithm and pool; needs the package arctic-inference beside vLLM",
    ),
    "Medusa": Kind("medusa", note="the heads' best guesses only, not a tree of them"),
    "Lookahead": Kind(impossible="vLLM has none; ngram is nearest, by a different algorithm"),
    "AUTO": Kind(impossible="vLLM does not choose a method; name one"),
    "SaveState": Kind(impossible="vLLM's nearest is the method extract_hidden_states"),
    "User_Provided": Kind(impossible=_ALONE),
}
# A draft model was refused by the releases between the two engines.
_NO_DRAFT_MODEL = ((0, 10), (0, 16))


@dataclass(frozen=True)
class _Speculation:
    """The section under conversion. given: its keys, plain."""

    settings: Settings
    given: Mapping[str, Any]
    kind: Kind
    name: str

    def at(self, key: str) -> Settings:
        return self.settings.under(f"{SECTION}.{key}")

    def one_of(self, names: tuple[str, ...]) -> str | None:
        """The name among `names` that is given. Raises UsageError where two disagree."""
        found = [name for name in names if self.given.get(name) is not None]
        if len({str(self.given[name]) for name in found}) > 1:
            both = " and ".join(f"{name}: {self.given[name]}" for name in found)
            raise self.at(found[0]).error(f"contradicts itself ({both}); keep one of them")
        return found[0] if found else None


def speculation(settings: Settings) -> list[Row]:
    """A row for each key of the section, in the file's order.

    Raises UsageError for an unknown decoding type, missing or contradictory keys.
    """
    given = settings.get(SECTION)
    if given is None:
        return [Row(SECTION, None, exact(note="no speculation"))]
    section = settings.under(SECTION)
    if not isinstance(given, Mapping):
        raise section.error("takes a mapping with decoding_type")
    if "decoding_type" not in given and given.keys() & {"method", "num_speculative_tokens"}:
        return [Row(SECTION, given, exact({SECTION: given}, "vLLM's own words"))]
    name = decoding_type(given.get("decoding_type"), section)
    asked = _Speculation(settings, given, KINDS[name], name)
    _refuse_contradictions(asked)
    first = _method(asked)
    if not first.args:
        told = f"{name} is not converted"
        others = [key for key in given if key != "decoding_type"]
        return [
            Row(f"{SECTION}.decoding_type", given["decoding_type"], first),
            *(Row(f"{SECTION}.{key}", given[key], nothing(told)) for key in others),
        ]
    return _rows(asked, first)


def decoding_type(value: Any, settings: Settings) -> str:
    """The type's name as KINDS spells it; case and underscores do not matter."""
    known = engine_options("tensorrt-llm").decoding_types
    shown = ", ".join(sorted(set(KINDS)))
    if not isinstance(value, str):
        raise settings.error(f"decoding_type is missing; one of {shown}", f"{SECTION}")
    plain = {_plain(name): name for name in (*known, *KINDS)}
    found = plain.get(_plain(value))
    if found is None:
        close = get_close_matches(_plain(value), plain, n=1, cutoff=0.5)
        meant = f"did you mean {plain[close[0]]}?" if close else f"one of {shown}"
        raise settings.error(f"unknown type {value!r}; {meant}", f"{SECTION}.decoding_type")
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _rows(asked: _Speculation, first: Outcome) -> list[Row]:
    """The type is convertible: its keys."""
    method = first.args[SECTION].get("method", "")
    path, tokens = _path(asked), _tokens(asked)
    rows = []
    for key, value in asked.given.items():
        at = asked.at(key)
        if key == "decoding_type":
            outcome = first
        elif key in (*TOKENS, "num_medusa_heads"):
            outcome = tokens.get(key, exact(note=f"the same as {next(iter(tokens), 'another')}"))
        elif key in PATHS:
            outcome = path.get(key, exact(note=f"the same as {next(iter(path), 'another')}"))
        elif key == "draft_len_schedule" and value is not None:
            outcome = draft_len_schedule(value, at, _longest(asked))
        elif key == "max_concurrency" and value is not None:
            outcome = max_concurrency(value, at, _longest(asked))
        elif key == "use_rejection_sampling":
            outcome = rejection(value, at, method)
        else:
            outcome = _tuning(key, value, at, asked.name)
        rows.append(Row(f"{SECTION}.{key}", value, outcome))
    return [*rows, *_defaults(asked, tokens)]


def _tuning(key: str, value: Any, settings: Settings, kind: str) -> Outcome:
    if value is None:
        return exact(note="null sets nothing")
    if kind == "NGram" and key in NGRAM:
        return NGRAM[key](value, settings)
    if key in TUNING:
        return TUNING[key](value, settings)
    if key in NGRAM:
        return nothing(f"{kind} does not read it")
    return nothing("not a key known here")


def _defaults(asked: _Speculation, tokens: Mapping[str, Outcome]) -> list[Row]:
    """What TensorRT-LLM would have assumed, and vLLM must be told."""
    rows = []
    if asked.name == "NGram" and asked.given.get("max_matching_ngram_size") is None:
        said = {SECTION: {"prompt_lookup_max": 2, "prompt_lookup_min": 1}}
        rows.append(Row(f"{SECTION}.max_matching_ngram_size", 2, exact(said, "its default")))
    if asked.name == "MTP" and not tokens:
        said = {SECTION: {"num_speculative_tokens": 1}}
        rows.append(Row(f"{SECTION}.max_draft_len", 1, exact(said, "its default")))
    return rows


def _refuse_contradictions(asked: _Speculation) -> None:
    pairs = (("draft_len_schedule", "max_concurrency"), ("use_dynamic_tree", "eagle_choices"))
    for one, other in pairs:
        if asked.given.get(one) and asked.given.get(other):
            raise asked.at(one).error(f"cannot be given together with {other}; keep one of them")


def _longest(asked: _Speculation) -> int | None:
    name = asked.one_of(TOKENS)
    return asked.given[name] if name and isinstance(asked.given[name], int) else None


def _tokens(asked: _Speculation) -> dict[str, Outcome]:
    """The key that says how many tokens are drafted, and what it becomes."""
    if asked.name == "Medusa":
        return _heads(asked)
    name = asked.one_of(TOKENS)
    if name is None:
        if asked.name == "MTP":
            return {}
        raise asked.settings.under(SECTION).error("max_draft_len is missing")
    count = asked.at(name).whole(asked.given[name], 1)
    said = {SECTION: {"num_speculative_tokens": count}}
    if asked.name == "SA":
        return {name: approximate(said, "vLLM's drafts grow with the match, up to this")}
    return {name: exact(said)}


def _heads(asked: _Speculation) -> dict[str, Outcome]:
    """Medusa drafts a token with each head; max_draft_len counts the nodes of its tree."""
    name = "num_medusa_heads"
    heads = asked.at(name).whole(asked.given[name], 1)
    said = {SECTION: {"num_speculative_tokens": heads}}
    tree = nothing("the size of a tree, which vLLM does not draft")
    return {name: exact(said), **dict.fromkeys(TOKENS, tree)}


def _path(asked: _Speculation) -> dict[str, Outcome]:
    """The key that names the draft, and what it becomes."""
    name = asked.one_of(PATHS)
    if name is None:
        if asked.kind.draft == "needed":
            why = f"{asked.name} needs a draft: give {PATHS[0]}"
            raise asked.settings.under(SECTION).error(why)
        return {}
    model = asked.at(name).text(asked.given[name])
    if asked.kind.draft == "none":
        return {name: nothing(f"{asked.name} has no draft model")}
    said = {SECTION: {"model": model}}
    if asked.name == "MTP":
        return {name: approximate(said, "vLLM reads the MTP layers of that checkpoint")}
    return {name: exact(said)}


def _method(asked: _Speculation) -> Outcome:
    """The type as vLLM's method; without arguments where the version has none."""
    kind, target = asked.kind, asked.settings.target
    if kind.impossible:
        return nothing(kind.impossible)
    if asked.name == "Medusa" and asked.given.get("num_medusa_heads") is None:
        return needs(SECTION, "how many heads? give num_medusa_heads")
    said: dict[str, Any] = {"method": kind.method, **kind.fixed}
    note = kind.note
    if asked.name == "Eagle":
        said["method"], note = _eagle(asked)
    if asked.name == "NGram" and asked.given.get("is_public_pool") is not False:
        note = "TensorRT-LLM looks up in all requests' texts, vLLM only in the request's own"
    if asked.name == "MTP":
        said, note = _mtp(asked)
    if (gone := _absent(asked, str(said.get("method", "")))) is not None:
        return nothing(f"vLLM {target.version} {gone}")
    return approximate({SECTION: said}, note) if note else exact({SECTION: said})


def _absent(asked: _Speculation, method: str) -> str | None:
    """Why the version does not run the method; None where it does."""
    target, kind = asked.settings.target, asked.kind
    since = (0, 8, 5) if method == "eagle3" else kind.since
    if not target.at_least(*since):
        return f"has no {method}; it came with {'.'.join(map(str, since))}"
    first, last = _NO_DRAFT_MODEL
    if method == "draft_model" and target.at_least(*first) and not target.at_least(*last):
        return "refuses draft models (0.10 to 0.15 do)"
    if method and not target.legacy and method not in target.release.speculative_methods:
        return f"no longer has {method}"
    return None


def _eagle(asked: _Speculation) -> tuple[str, str]:
    """(method, what is not certain): decided from the checkpoint, not from the word."""
    name = asked.one_of(PATHS)
    model = str(asked.given[name]) if name else ""
    if any(key.startswith("eagle3_") for key in asked.given):
        return "eagle3", ""
    if "eagle3" in _plain(model) or "eagle3" in _plain(_architecture(model)):
        return "eagle3", ""
    note = "nothing says that the checkpoint is EAGLE-3; if it is, write method eagle3"
    return "eagle", note


def _architecture(model: str) -> str:
    """What a local checkpoint says of itself; empty where there is none."""
    try:
        return read_model_config(Path(model)).architecture or ""
    except UsageError:
        return ""


def _mtp(asked: _Speculation) -> tuple[dict[str, Any], str]:
    """One name for all models from 0.11 on; before that DeepSeek's only."""
    target = asked.settings.target
    if target.at_least(0, 11):
        return {"method": "mtp"}, ""
    if target.at_least(0, 9):
        return {"method": "deepseek_mtp"}, "of DeepSeek's models only; others have own names"
    return {}, "of DeepSeek's models only, where the number of tokens alone asks for it"
