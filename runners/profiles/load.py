"""From a name on the command line to a validated profile."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from runners.checks.finding import Finding, Where
from runners.errors import UsageError
from runners.profiles import explain, older, prices
from runners.profiles.document import FLOAT, Node, node_of
from runners.profiles.engine_section import ENGINE_VERSIONS, Json
from runners.profiles.error import ProfileError, rejected
from runners.profiles.extra_args import PATH as EXTRA_ARGS
from runners.profiles.extra_args import Served, over_arguments, with_extra_arguments
from runners.profiles.find import find_profile, profile_files
from runners.profiles.inherit import (
    Document,
    Override,
    merge,
    nested,
    parse_set,
    read_chain,
    set_at,
)
from runners.profiles.model import Profile

__all__ = [
    "Listed",
    "Loaded",
    "Override",
    "ProfileError",
    "dump",
    "engine_of",
    "find_profile",
    "list_profiles",
    "load_profile",
    "parse_set",
]


# Keys that name a file; a corpus may be a folder.
_FILES = (
    ("model", "chat_template"),
    ("load", "trace", "file"),
    ("workload", "dataset", "file"),
)


@dataclass(frozen=True)
class Loaded:
    """A usable profile.

    data: what `Profile.model_validate` took, plain, inheritance and overrides applied.
    findings: warnings and remarks about how it is written. parents: nearest last.
    tree: the same data with the place of every key.
    """

    profile: Profile
    data: dict[str, Json]
    findings: tuple[Finding, ...]
    path: Path
    parents: tuple[Path, ...] = ()
    tree: Node = field(default_factory=lambda: Node({}), repr=False)

    def where(self, key: str) -> Where | None:
        """Where the dotted key is written, or the nearest section around it that is."""
        node, place = self.tree, None
        for name in key.split("."):
            below = node.mapping.get(name)
            if below is None:
                break
            node, place = below, below.key_where or place
        return place


@dataclass(frozen=True)
class Listed:
    """A row of the list of profiles; `problem` says why one cannot be used."""

    name: str
    target: str | None
    engine: str | None
    description: str
    path: Path
    problem: str | None = None


def load_profile(
    reference: str | Path, overrides: Sequence[tuple[str, Json] | Override] = ()
) -> Loaded:
    """Read, inherit, override, bring up to date, validate.

    reference: a path or a name (see `find_profile`). overrides: (dotted key, value), applied
    last and in order; each replaces what was there. An `Override` names the flag it came from.
    Raises ProfileError with every fault found, each with its place; UsageError where
    there is no such profile.
    """
    path = find_profile(reference)
    chain = read_chain(path)
    sets = [_override(item) for item in overrides]
    tree, findings = _one_tree(chain, sets)
    tree = _with_price(_with_own_files(tree))
    data = tree.plain()
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        raise ProfileError([*explain.findings_of(error, tree), *findings]) from None
    if any(finding.severity == "error" for finding in findings):
        raise ProfileError(findings)
    parents = tuple(document.path for document in chain[:-1])
    return Loaded(profile, data, tuple(findings), path, parents, tree)


def list_profiles(folder: Path | None = None) -> list[Listed]:
    """Every shipped profile (or every one of `folder`), the unusable ones with their problem."""
    rows = []
    for name, path in profile_files(folder).items():
        try:
            profile = load_profile(path).profile
        except UsageError as error:
            rows.append(Listed(name, None, None, "", path, str(error)))
        else:
            rows.append(
                Listed(name, profile.target, profile.engine.name, profile.description, path)
            )
    return rows


def dump(profile: Profile) -> str:
    """The profile as YAML that `load_profile` (and any YAML reader) takes back unchanged."""
    data = profile.model_dump(mode="json")
    return yaml.dump(_filled(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """Without the keys of sections that are not set; engine arguments keep their nulls."""
    free = ("args", "extra_body")
    return {
        key: _filled(value) if isinstance(value, dict) and key not in free else value
        for key, value in data.items()
        if value is not None
    }


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Line breaks that PyYAML takes for plain text but reads back as spaces are escaped."""
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def _override(item: tuple[str, Json] | Override) -> Override:
    return item if isinstance(item, Override) else Override(item[0], item[1], f"--set {item[0]}")


def _one_tree(chain: Sequence[Document], sets: Iterable[Override]) -> tuple[Node, list[Finding]]:
    """The merged tree in today's words, `extends` taken out."""
    sets = list(sets)
    served = _served(chain, sets)
    engine, version = served.engine, served.version
    tree = Node({}, chain[-1].root.where)
    findings: list[Finding] = []
    for document in chain:
        today, found = older.modern(document.root, engine, version)
        today, more = with_extra_arguments(today, served)
        tree = merge(tree, today)
        findings += [*found, *more]
    entries = {key: node for key, node in tree.mapping.items() if key != "extends"}
    tree = Node(entries, chain[-1].root.where)
    for override in sets:
        if override.path == ("engine", "name"):
            tree = _other_engine(tree, override)
    tree = _with_specific(tree, engine)
    for override in sets:
        tree, found = _apply(tree, override, served)
        findings += found
    return tree, findings


def _with_own_files(tree: Node) -> Node:
    """Files that a profile names lie beside it, wherever the command is started.

    One that is not there is left as it is: relative to where the command runs.
    """
    for path in _FILES:
        node = tree.get(*path)
        if node is None or node.where is None or not isinstance(node.value, str):
            continue
        beside = Path(node.where.file).absolute().parent / node.value
        if beside.exists():
            tree = set_at(tree, path, replace(node, value=str(beside)))
    return tree


def _with_price(tree: Node) -> Node:
    """The price that `cost.price` names, written out: lists change, a run's price does not."""
    section, name = tree.get("cost"), tree.get("cost", "price")
    if section is None or name is None or not isinstance(name.value, str):
        return tree
    try:
        priced = prices.filled(section.plain())
    except UsageError as error:
        where = name.key_where or name.where
        raise rejected("profile.price", f"{error}.", key="cost.price", where=where) from error
    for key, value in priced.items():
        if tree.get("cost", key) is None or section.mapping[key].value != value:
            tree = set_at(tree, ("cost", key), node_of(value, name.flag))
    return tree


def _other_engine(tree: Node, override: Override) -> Node:
    """Version, image and backend belong to the engine that the file names, not to another."""
    named = tree.get("engine", "name")
    if (named.value if named else "vllm") == override.value or not tree.get("engine"):
        return tree
    for key in ("version", "image", "backend", "env"):
        if tree.get("engine", key) is not None:
            tree = set_at(tree, ("engine", key), node_of({} if key == "env" else None))
    return tree


def _with_specific(tree: Node, engine: str) -> Node:
    """`engine.specific.<engine>` laid over `engine`; flags and `--set` still beat it."""
    specific = tree.get("engine", "specific", engine)
    section = tree.get("engine")
    if specific is None or section is None or not specific.mapping:
        return tree
    named, _ = older.one_spelling(nested(("engine",), specific))
    over = named.get("engine") or specific
    return set_at(tree, ("engine",), merge(section, over))


def _apply(tree: Node, override: Override, served: Served) -> tuple[Node, list[Finding]]:
    path = override.path
    if path == EXTRA_ARGS and override.value is not None:
        return over_arguments(tree, override.node(), served)
    if path[0] == "extends":
        why = f"inheritance is chosen in the file (given by {override.flag})."
        raise rejected("profile.override", why, key="extends")
    if older.is_older(path):
        node = nested(path, override.node())
        today, found = older.modern(node, served.engine, served.version)
        return merge(tree, today), found
    if path[:2] == ("engine", "args") and len(path) > 2:
        path = (*path[:2], older.argument_name(path[2]), *path[3:])
    return set_at(tree, path, override.node()), []


def engine_of(path: Path, overrides: Sequence[Override] = ()) -> tuple[str, str]:
    """Name and version of the engine that a profile's file, its parents and overrides say."""
    return _engine(read_chain(path), overrides)


def _engine(chain: Sequence[Document], sets: Iterable[Override]) -> tuple[str, str]:
    """Name and version of the engine, which decide how older arguments are read."""
    served = _served(chain, sets)
    return served.engine, served.version


def _served(chain: Sequence[Document], sets: Iterable[Override]) -> Served:
    """What is served, before anything is merged."""
    sets = list(sets)

    def said(*path: str) -> str | None:
        nodes = [document.root.get(*path) for document in chain]
        nodes += [nested(item.path, item.node()).get(*path) for item in sets]
        found = [node.value for node in nodes if node and isinstance(node.value, str)]
        return found[-1] if found else None

    name = said("engine", "name") or "vllm"
    version = said("engine", "version") or ENGINE_VERSIONS.get(name, ENGINE_VERSIONS["vllm"])
    return Served(name, version, said("resources", "gpu", "type"), said("model", "uri"))
