"""`--fix`: today's words and safe translations, written into a new file beside the old one.

The file is edited, not written anew, so that comments and order stay. What is taken out
stays behind as a comment.
"""

import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runners.checks.check import hits
from runners.checks.finding import printable
from runners.checks.rule import REMOVE, Change
from runners.errors import OutputError, UsageError
from runners.profiles import older
from runners.profiles.document import read_document
from runners.profiles.error import ProfileError
from runners.profiles.find import find_profile
from runners.profiles.load import Override, engine_of, load_profile

_ROUNDS = 6  # one fix can bring another to light


@dataclass(frozen=True)
class Fixed:
    """The new file, what differs, and what was chosen where the profile left it open."""

    path: Path
    diff: str
    choices: tuple[str, ...] = ()
    taken_out: tuple[str, ...] = ()


@dataclass
class _Edited:
    """The document on its way: ruamel's tree keeps comments and order."""

    root: Any
    choices: list[str] = field(default_factory=list)
    taken_out: list[str] = field(default_factory=list)


def fix(reference: str | Path, overrides: Sequence[Override] = ()) -> Fixed | None:
    """Write `<name>.fixed.yaml` with every edit that is known; None where nothing is to do.

    overrides: such as another engine version, for which the profile is to be right; the
    version is written into the new file. Raises UsageError for a file that is no profile
    at all, OutputError where the new file cannot be written.
    """
    path = find_profile(reference)
    before = path.read_text(encoding="utf-8") if read_document(path) else ""
    edited = _Edited(_round_trip().load(before))
    target = _free_name(path)
    try:
        _modernize(edited, path, overrides)
        for override in overrides:
            if override.path == ("engine", "version"):
                _apply(edited, Change("engine.version", override.value))
        for _ in range(_ROUNDS):
            _write(target, edited)
            changes = _changes(target, overrides)
            if not changes:
                break
            for change in changes:
                _apply(edited, change)
        after = target.read_text(encoding="utf-8")
        diff = "".join(
            difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                path.name,
                target.name,
            )
        )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if not diff:
        target.unlink()
        return None
    return Fixed(target, diff, tuple(edited.choices), tuple(edited.taken_out))


def _round_trip() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _free_name(path: Path) -> Path:
    """A name beside the profile that no file has."""
    stem = path.with_suffix("").name
    names = [f"{stem}.fixed.yaml", *(f"{stem}.fixed-{n}.yaml" for n in range(2, 100))]
    for name in names:
        if not (path.parent / name).exists():
            return path.parent / name
    raise UsageError(f"{path.parent}: a hundred fixed copies are there; remove some")


def _write(target: Path, edited: _Edited) -> None:
    text = io.StringIO()
    _round_trip().dump(edited.root, text)
    if edited.taken_out:
        text.write("# Taken out by --fix:\n")
        text.writelines(f"#   {line}\n" for line in edited.taken_out)
    try:
        target.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def _modernize(edited: _Edited, path: Path, overrides: Sequence[Override]) -> None:
    """Older spellings of this document, in today's words."""
    document = read_document(path)
    today, findings = older.modern(document, *engine_of(path, overrides))
    changes = _differences(document.plain(), today.plain())
    remarks, homeless = _remarks(edited.root, changes)
    edited.taken_out += homeless
    for change in changes:
        _apply(edited, change)
    for key, remark in remarks.items():
        _remark(edited.root, key, remark)
    for finding in findings:
        if finding.rule in ("profile.dropped", "profile.no-counterpart", "profile.overruled"):
            node = document.get(*finding.key.split("."))
            value = node.plain() if node else None
            edited.taken_out.append(printable(f"{finding.key}: {value!r} ({finding.why})"))


def _differences(before: Any, after: Any, key: str = "") -> list[Change]:
    """The changes that make `after` of `before`, both plain data; keys taken out come last."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [] if before == after else [Change(key, after)]
    found: list[Change] = []
    for name, value in after.items():
        path = f"{key}.{name}" if key else name
        if name not in before:
            found.append(Change(path, value))
        else:
            found += _differences(before[name], value, path)
    gone = [name for name in before if name not in after]
    return found + [Change(f"{key}.{name}" if key else name, REMOVE) for name in gone]


def _changes(target: Path, overrides: Sequence[Override]) -> list[Change]:
    """What the rules propose for the file as it is now; nothing where it cannot be loaded."""
    try:
        loaded = load_profile(target, overrides)
    except ProfileError:
        return []
    found: dict[str, Change] = {}
    # Translations first: a choice may be about what one of them is about to write.
    by_choice = sorted(hits(loaded), key=lambda found: any(c.choice for c in found[1].changes))
    for _, hit, _ in by_choice:
        if not any(change.key in found for change in hit.changes):
            found |= {change.key: change for change in hit.changes}
    return list(found.values())


def _remarks(root: Any, changes: Sequence[Change]) -> tuple[dict[str, str], list[str]]:
    """New key → the comment behind the line it came from: that of the same name, or value;
    and the comments of which no line is left."""
    new = [leaf for change in changes if change.value is not REMOVE for leaf in _leaves(change)]
    found: dict[str, str] = {}
    homeless = []
    for change in changes:
        if change.value is REMOVE:
            for old, comment in _comments(root, change.key):
                value = _at(root, old)
                same = [key for key, item in new if item == value]
                named = [key for key in same if key.rpartition(".")[2] == old.rpartition(".")[2]]
                if named or len(same) == 1:
                    found[(named or same)[0]] = comment
                else:
                    homeless.append(printable(f"the comment of {old}: {comment}"))
    return found, homeless


def _leaves(change: Change) -> Iterator[tuple[str, Any]]:
    """Every key below a change that holds no mapping, with its value."""
    if not isinstance(change.value, Mapping):
        yield change.key, change.value
        return
    for name, value in change.value.items():
        yield from _leaves(Change(f"{change.key}.{name}", value))


def _comments(root: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every key at and below `key` that has a comment behind its value."""
    above, _, name = key.rpartition(".")
    section = _at(root, above) if above else root
    tokens = section.ca.items.get(name) if hasattr(section, "ca") else None
    comment = tokens[2].value if tokens and len(tokens) > 2 and tokens[2] else ""
    if line := comment.partition("\n")[0].strip(" #"):
        yield key, line
    below = _at(root, key)
    if isinstance(below, Mapping):
        for inner in below:
            yield from _comments(root, f"{key}.{inner}")


def _at(root: Any, key: str) -> Any:
    for name in key.split("."):
        root = root[name] if isinstance(root, Mapping) and name in root else None
    return root


def _remark(root: Any, key: str, comment: str) -> None:
    """A comment behind a line; sections made here are plain and must first become ruamel's."""
    above, _, name = key.rpartition(".")
    section = _at(root, above) if above else root
    if hasattr(section, "yaml_add_eol_comment"):
        section.yaml_add_eol_comment(comment, name)


def _apply(edited: _Edited, change: Change) -> None:
    """Set a key, or take it out; null takes out what only a parent says."""
    *sections, name = change.key.split(".")
    node = edited.root
    for section in sections:
        if not isinstance(node.get(section), Mapping):
            node[section] = _commentable({})
        node = node[section]
    written = _written(node, name)
    if change.value is not REMOVE:
        node[written] = _commentable(change.value)
    elif written in node:
        del node[written]
    elif sections[:2] == ["engine", "args"]:
        node[written] = None
    if change.choice:
        edited.choices.append(f"{change.key}: {change.choice}")
        if change.value is REMOVE:
            edited.taken_out.append(printable(f"{change.key} ({change.choice})"))
        elif hasattr(node, "yaml_add_eol_comment") and not node.fa.flow_style():
            node.yaml_add_eol_comment(f"chosen: {change.choice}", written)


def _commentable(value: Any) -> Any:
    """Mappings as ruamel's own kind, which can hold comments."""
    if not isinstance(value, Mapping):
        return value
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap({name: _commentable(item) for name, item in value.items()})


def _written(node: Mapping[str, Any], name: str) -> str:
    """The key as the file spells it: with dashes, or with underscores."""
    same = [key for key in node if older.argument_name(str(key)) == name]
    return same[0] if same else name
