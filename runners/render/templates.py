"""From a template in manifests/ to one Kubernetes object, and from an object to YAML text."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from runners.data import folder

Object = dict[str, Any]


class Quoted(str):
    """Text that has gone through the filter `q`."""


def quote(value: Any) -> Quoted:
    """A value as JSON, which is YAML: it can hold any text and never becomes structure."""
    return Quoted(json.dumps(value, ensure_ascii=True, allow_nan=False))


def only_quoted(value: Any) -> Any:
    """Refuse a value that a template puts out without `q`."""
    if not isinstance(value, Quoted):
        raise TypeError("a template put out a value without the filter q")
    return value


def fill(name: str, values: Mapping[str, Any]) -> Object:
    """The object that the template `manifests/<name>` describes.

    Raises jinja2.TemplateError for an unknown name, TypeError for an unquoted value and
    yaml.YAMLError for what is not one YAML document: all of them mistakes in the template.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder("manifests")),
        undefined=StrictUndefined,
        finalize=only_quoted,
        autoescape=False,  # values are quoted as JSON, which HTML escapes would break
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["q"] = quote
    filled = yaml.safe_load(environment.get_template(name).render(values))
    if not isinstance(filled, dict):
        raise TypeError(f"the template {name} does not describe an object")
    return filled


class _Dumper(yaml.SafeDumper):
    """Quotes each text that some YAML reader takes for something else (y, 1e3, ~)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*")
_BOOLEAN = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and not _BOOLEAN.fullmatch(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def to_yaml(manifest: Object) -> str:
    """An object as YAML that every reader understands alike, keys in the given order."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=False)
