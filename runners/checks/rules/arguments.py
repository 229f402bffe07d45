"""Engine arguments: names that this version of vLLM takes, and what became of the others."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Literal

from runners.checks.case import Case
from runners.checks.history import first_version, last_version, spans
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.tables import version_key, vllm_versions
from runners.checks.values import said
from runners.engines import vllm
from runners.errors import UsageError
from runners.profiles.features import RENAMED, Dropped, Moved, Refused, version_of

ARGS = "engine.args"
Known = Literal["known", "short", "ambiguous", "moved", "other version", "never", "ours"]


def standing(case: Case, name: str) -> tuple[Known, list[str]]:
    """What a name is to this version, and the full names that it may stand for."""
    flags = case.release.flags
    base = name.partition(".")[0].rstrip("+")
    if base in flags:
        return "known", [base]
    positive = base.removeprefix("no_")
    if positive in flags and flags[positive].negatable:
        return "known", [positive]
    if _is_ours(base):
        return "ours", []
    renamed = RENAMED.get(base)
    if renamed is not None and version_of(case.version) > renamed.last:
        return "moved", []
    # The parser takes the beginning of a name for the whole where only one begins so.
    begun = sorted({flag for flag in flags if flag.startswith(base)}) if base else []
    if base.startswith("no_"):
        begun += sorted(f"no_{f}" for f in flags if flags[f].negatable and f.startswith(positive))
    if begun and "." not in name:
        return ("short", begun) if len(begun) == 1 else ("ambiguous", begun)
    return ("other version", []) if base in spans("flags") else ("never", [])


def _is_ours(name: str) -> bool:
    try:
        vllm.flags({name: None})
    except UsageError:
        return True
    return False


def _named(case: Case, wanted: Known) -> Iterator[tuple[str, Any, list[str]]]:
    """The arguments of one standing: (name, value, full names)."""
    flags = case.release.flags
    for name, value in case.args.items():
        if name not in flags or name in _MAYBE_OURS:
            what, full = standing(case, name)
            if what == wanted:
                yield name, value, full


# Flags of vLLM that the toolkit sets by itself.
_MAYBE_OURS = frozenset(
    {"host", "port", "model", "served_model_name", "uds", "api_key", "root_path"}
    | {"ssl_keyfile", "ssl_certfile"}
)


def _other_parser(case: Case) -> bool:
    """KServe's own server reads some words of its own and leaves the rest to vLLM."""
    return case.backend == "vllm-huggingface"


def _unsure(case: Case) -> Any:
    """A warning where the tables do not reach: an engine newer than them, or another parser."""
    newer = case.release.newest and not case.release.exact
    return "warning" if newer or _other_parser(case) else None


@rule(
    "arguments.ours",
    severity="error",
    fails="at start-up",
    basis="practice",
    evidence="The toolkit writes these flags itself, and refuses a second one before it starts "
    "anything.",
)
def ours(case: Case) -> Iterator[Hit]:
    """Where and under which name the engine answers is the toolkit's to write."""
    for name in case.profile.engine.args:
        if name not in _MAYBE_OURS:
            continue
        try:
            vllm.flags({name: None})
        except UsageError as error:
            why = str(error).partition("cannot be set here: ")[2].partition(";")[0]
            key = f"{ARGS}.{name}"
            yield Hit(
                key,
                f"it cannot be set here: {why}.",
                "Remove the line.",
                (Change(key, REMOVE),),
            )


@rule(
    "arguments.renamed",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="The flags of every release kept here; an unknown one ends with `unrecognized "
    "arguments`.",
)
def renamed(case: Case) -> Iterator[Hit]:
    """A flag that later versions renamed or dropped goes by its newer name."""
    for name, value, _ in _named(case, "moved"):
        key, entry = f"{ARGS}.{name}", RENAMED[name]
        outcome = entry.become(value, version_of(case.version))
        last = last_version("flags", name)
        until = f"vLLM {case.version} has no flag {name}" + (f" (the last was {last})" * bool(last))
        if isinstance(outcome, Moved):
            fix = ", ".join(f"{'.'.join(path)}: {said(v)}" for path, v in outcome.arguments)
            yield Hit(key, f"{until}.", fix, _moves(case, name, outcome), _unsure(case))
        elif isinstance(outcome, Dropped):
            gone = (Change(key, REMOVE),)
            yield Hit(key, f"{until}: {outcome.why}.", "Remove the line.", gone, _unsure(case))
        elif isinstance(outcome, Refused):
            fix = outcome.fix[0].upper() + outcome.fix[1:]
            inward = _into_section(case, name, value)
            yield Hit(key, f"{until}.", f"{fix}.", inward, severity=_unsure(case))


def _into_section(case: Case, name: str, value: Any) -> tuple[Change, ...]:
    """A flag that speculative_config has a newer key for, which its own rule then writes."""
    if name != "speculative_disable_by_batch_size" or not case.at_least(0, 24, 0):
        return ()
    moved = Moved(((("speculative_config", "disable_by_batch_size"), value),))
    return _moves(case, name, moved)


def _moves(case: Case, name: str, outcome: Moved) -> tuple[Change, ...]:
    """The new arguments, where nothing is written there yet, and the old one taken out."""
    changes = []
    for path, value in outcome.arguments:
        top, *below = path
        present = case.args.get(top)
        if not below:
            if present is None:
                changes.append(Change(f"{ARGS}.{top}", value))
        elif isinstance(present, str):
            both = {below[0]: value, **(case.section(top) or {})}
            changes.append(Change(f"{ARGS}.{top}", both))
        elif below[0] not in (case.section(top) or {}):
            changes.append(Change(f"{ARGS}.{'.'.join(path)}", value))
    return (*changes, Change(f"{ARGS}.{name}", REMOVE))


@rule(
    "arguments.version",
    severity="error",
    fails="at start-up",
    basis="history",
    evidence="The flags of every release kept here; an unknown one ends with `unrecognized "
    "arguments`.",
)
def version(case: Case) -> Iterator[Hit]:
    """A flag exists in this version of vLLM."""
    for name, _, _ in _named(case, "other version"):
        base = name.partition(".")[0]
        first, last = first_version("flags", base), last_version("flags", base)
        release = version_key(case.release.version)
        later = first is not None and version_key(first) > release
        between = not case.release.exact and later and first == _next(case.release.version)
        yield Hit(
            f"{ARGS}.{name}",
            f"vLLM {case.version} has no flag {base}; it is there "
            + (f"from {first}." if later else f"up to {last}."),
            f"engine.version: {first} or later, or remove the line."
            if later
            else "Remove the line.",
            severity="warning" if between else _unsure(case),
        )


def _next(version: str) -> str | None:
    known = vllm_versions()
    place = known.index(version) + 1 if version in known else 0
    return known[place] if place < len(known) else None


@rule(
    "arguments.unknown",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="The command line ends with `error: unrecognized arguments`.",
)
def unknown(case: Case) -> Iterator[Hit]:
    """Every engine argument is a flag of vLLM."""
    for name, _, _ in _named(case, "never"):
        close = get_close_matches(name, case.release.flags, n=1, cutoff=0.75)
        yield Hit(
            f"{ARGS}.{name}",
            f"no release of vLLM that is known here has a flag --{name.replace('_', '-')}.",
            f'Did you mean "{close[0]}"?' if close else "Remove the line.",
            severity=_unsure(case),
        )


@rule(
    "arguments.shortened",
    severity="warning",
    fails="silently",
    basis="executed",
    evidence="argparse takes the beginning of a flag's name for the whole where only one begins "
    "so; of two that are given the last one wins.",
)
def shortened(case: Case) -> Iterator[Hit]:
    """A flag's name is written in full."""
    for name, value, full in _named(case, "short"):
        key, other = f"{ARGS}.{name}", f"{ARGS}.{full[0]}"
        if full[0] in case.args:
            yield Hit(
                key,
                f"the engine reads it as {full[0]}, which is given too: the later line wins.",
                f"Remove {name}.",
                (Change(key, REMOVE, f"{full[0]} as it is written"),),
                severity="error",
            )
        else:
            yield Hit(
                key,
                f"the engine reads it as {full[0]}.",
                f"{full[0]}: {said(value)}",
                (Change(other, value), Change(key, REMOVE)),
            )


@rule(
    "arguments.ambiguous",
    severity="error",
    fails="at start-up",
    basis="executed",
    evidence="argparse ends with `ambiguous option: … could match …`.",
)
def ambiguous(case: Case) -> Iterator[Hit]:
    """The beginning of several flags' names is none of them."""
    for name, _, full in _named(case, "ambiguous"):
        close = get_close_matches(name, full, n=1, cutoff=0) or full
        listed = ", ".join(full[:4]) + (", …" if len(full) > 4 else "")
        yield Hit(
            f"{ARGS}.{name}",
            f"it could be any of {listed}.",
            f'Did you mean "{close[0]}"?',
            severity=_unsure(case),
        )
