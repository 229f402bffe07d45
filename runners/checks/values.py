"""How values are named in messages about engine arguments."""

import json
from typing import Any

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "json": "a mapping",
    "human_int": "a whole number, also as 8k or 1M",
    "human_int_or_auto": "a whole number, also as 8k or 1M, or auto",
    "json_or_str": "a mapping or text",
    "key_values": "text such as a=1,b=2",
}
_SHOWN = 60
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def type_name(kind: str) -> str:
    """A kind of value in words."""
    return _KINDS.get(kind, "another value")


def said(value: Any) -> str:
    """A value as YAML and JSON write it, shortened."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def switched(value: Any) -> bool | None:
    """What a word such as yes or 0 means for a switch; None where it means neither."""
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None
