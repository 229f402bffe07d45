"""The profile's JSON Schema, and in words what a key may hold.

Error messages, editors and the reference page all speak from here.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from runners.profiles import older
from runners.profiles.model import Profile

Schema = dict[str, Any]
_ROOT: Schema = Profile.model_json_schema()


def editor_schema() -> Schema:
    """JSON Schema (draft 2020-12) for editors, older spellings included.

    Inside sections nothing is required, because a parent may hold the rest; the loader
    checks the whole.
    """
    root = cast(Schema, _without_titles(_ROOT))
    for section in root["$defs"].values():
        section.pop("required", None)
    root.pop("required")
    root["anyOf"] = [{"required": ["name", "model"]}, {"required": ["extends"]}]
    for key, path in older.MOVED.items():
        root["properties"][key] = {
            "type": "integer",
            "deprecated": True,
            "description": f"Older spelling of {'.'.join(path)}.",
        }
    root["properties"]["pattern"] = {
        "enum": ["steady", "closed", "constant", "poisson"],
        "deprecated": True,
        "description": "Older spelling of load.pattern; steady is closed.",
    }
    root["properties"]["vllm_features"] = {
        "type": ["object", "null"],
        "deprecated": True,
        "description": "Older spelling of engine.args.",
    }
    for key in older.NOTES:
        root["properties"][key] = {"deprecated": True, "description": "A note without effect."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kserve-bench profile",
        **root,
    }


def property_at(path: Sequence[str | int]) -> Schema | None:
    """The schema of the key at a path; None for a key that does not exist."""
    here: Schema = _ROOT
    for name in path:
        here = _resolved(here)
        if isinstance(name, int):
            below = here.get("items")
        else:
            below = here.get("properties", {}).get(name, here.get("additionalProperties"))
        if not isinstance(below, dict):
            return {} if below is True else None
        here = below
    return here


def keys_at(path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that a section takes; empty for anything but a section."""
    here = property_at(path)
    return tuple(_resolved(here).get("properties", {})) if here is not None else ()


def every_key(below: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key of a profile, sections included."""
    for name in keys_at(below):
        yield (*below, name)
        yield from every_key((*below, name))


def description(schema: Schema | None) -> str:
    """What a key is for: its own words, else those of its section."""
    here = schema or {}
    return str(here.get("description") or _resolved(here).get("description", ""))


def allowed(schema: Schema | None) -> str:
    """What a key may hold, in words: `a whole number of at least 1`."""
    here = _resolved(schema or {})
    if "enum" in here:
        return "one of " + ", ".join(map(str, here["enum"]))
    if "const" in here:
        return str(here["const"])
    match here.get("type"):
        case "integer":
            words = "a whole number" + _range(here)
        case "number":
            words = "a number" + _range(here)
        case "boolean":
            words = "true or false"
        case "string":
            words = _text(here)
        case "array":
            words = f"a list, each item {allowed(here.get('items'))}"
        case "object" if "properties" in here:
            words = "a section with " + ", ".join(here["properties"])
        case "object":
            items = here.get("additionalProperties")
            values = f", each value {allowed(items)}" if isinstance(items, dict) and items else ""
            words = "a mapping" + values
        case _:
            words = "any value"
    return words


def _range(here: Schema) -> str:
    low, high = here.get("minimum"), here.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    if "exclusiveMinimum" in here:
        return f" greater than {here['exclusiveMinimum']:g}"
    return ""


def _text(here: Schema) -> str:
    limit = f" of at most {here['maxLength']} characters" if "maxLength" in here else ""
    if here.get("examples"):
        return f"text{limit} such as " + " or ".join(map(str, here["examples"]))
    return f"text{limit}" + (" that is not empty" if here.get("minLength") else "")


def _resolved(schema: Schema) -> Schema:
    """The schema behind `$ref` and behind `or null`, with the outer one's examples."""
    here = schema
    if "anyOf" in here:
        here = next(option for option in here["anyOf"] if option.get("type") != "null")
    if "$ref" in here:
        here = _ROOT["$defs"][here["$ref"].rsplit("/", 1)[-1]]
    return here | {"examples": schema["examples"]} if "examples" in schema else here


def _without_titles(schema: Any) -> Any:
    """A copy without the titles that only repeat the keys."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
