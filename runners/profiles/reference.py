"""docs/profiles.md: the profile's reference page, written from the model."""

from collections.abc import Iterator

from runners.profiles import older
from runners.profiles.features import RENAMED, Version
from runners.profiles.load import list_profiles
from runners.profiles.schema import Schema, allowed, description, keys_at, property_at

_INTRO = """\
# Profiles

A profile is a YAML file that says what is served and how it is measured. It needs a `name`
and a `model`; everything else has a default.

```yaml
# yaml-language-server: $schema=../docs/profile.schema.json
name: my-first
target: local
model:
  uri: tiny://target
load:
  concurrency: 4
  duration_s: 30
```

With that first line, editors that use the YAML language server complete and check the keys.
Unknown keys, wrong types and values out of range are errors with file, line and column.

## Which file is read

`--profile P` takes a path, or the name of a shipped profile with or without `.yaml`
(`cpu-smoke`, `quantization/fp8`). `--list-profiles` shows these:

"""

_INHERITANCE = """
## Inheritance and overrides

`extends: standard` starts from one parent: a shipped profile's name, or a path relative to the
file. Mappings merge key by key; everything else, lists included, replaces what the parent says.
A `null` sets null, it does not remove. A parent may have a parent.

`--set key.path=value` (repeatable) and the flags of the command line come last; each replaces
what is at its key. The value is YAML: `--set engine.args.max_num_seqs=32`,
`--set 'load.warmup={requests: 16}'`. `--set engine.args={}` empties a section.

## How YAML is read

Numbers, booleans and text as in YAML 1.2, and `yes`, `no`, `on`, `off` as booleans. A number that
is meant as text needs quotes: `version: "0.32"`. Duplicate keys, tags, tabs, more than one
document, files above 1 MB and aliases that multiply beyond bounds are refused.
"""

_OLDER = """
## Older spellings

Older profiles wrote these at the top level. They are accepted, and each is reported. Where a
profile says the same in today's words too, today's words win.

| older | today |
|---|---|
"""

_FEATURES = """
`vllm_features:` holds engine arguments by older names. They are put into those of
`engine.version`; a name that did not change passes through. A name without counterpart is an
error, unless leaving it out changes nothing.

| name | as it is up to vLLM | then |
|---|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRO, *_catalogue(), _INHERITANCE, "\n## Keys\n", *_sections()]
    parts.append(_OLDER)
    parts += [f"| `{key}` | `{'.'.join(path)}` |\n" for key, path in older.MOVED.items()]
    parts.append(
        "| `pattern` | `load.pattern`: `steady` is `closed`; `poisson` without a rate gets 1.5"
        " arrivals per second and slot, as older tools did; `bursty` and `heavy` are refused |\n"
    )
    notes = ", ".join(f"`{key}`" for key in older.NOTES)
    parts.append(f"| {notes} | dropped: notes that nothing read |\n")
    parts.append(_FEATURES)
    for name, entry in RENAMED.items():
        parts.append(f"| `{name}` | {_last(entry.last)} | {entry.now} |\n")
    return "".join(parts)


def _catalogue() -> Iterator[str]:
    yield "| name | target | engine | what it shows |\n|---|---|---|---|\n"
    for row in list_profiles():
        yield f"| `{row.name}` | {row.target} | {row.engine} | {row.description} |\n"


def _sections(path: tuple[str, ...] = ()) -> Iterator[str]:
    """A table for each section, the sections below it after it."""
    if path:
        yield f"\n### `{'.'.join(path)}`\n"
    yield "\n| key | allowed | default | what it is |\n|---|---|---|---|\n"
    for key in keys_at(path):
        schema = property_at((*path, key)) or {}
        section = bool(keys_at((*path, key)))
        words = "a section, below" if section else allowed(schema)
        told = description(schema)
        yield f"| `{key}` | {_cell(words)} | {_default(schema)} | {_cell(told)} |\n"
    for key in keys_at(path):
        if keys_at((*path, key)):
            yield from _sections((*path, key))


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default in (None, "", [], {}):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _last(version: Version) -> str:
    if version == (0, 0, 0):
        return "–"
    if version[2] == 99:  # everything before the next minor version
        return f"{version[0]}.{version[1]}"
    return ".".join(map(str, version))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
