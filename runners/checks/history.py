"""Since when and until when something exists, over the releases of vLLM that are kept here."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal

from runners.checks.tables import vllm_release, vllm_versions

What = Literal["flags", "keys", "methods"]


@cache
def spans(what: What) -> Mapping[str, tuple[str, str]]:
    """Every name of flags, of keys of speculative_config, or of methods: (first, last)."""
    found: dict[str, tuple[str, str]] = {}
    for version in vllm_versions():
        release = vllm_release(version)
        names = {
            "flags": release.flags,
            "keys": release.speculative_keys,
            "methods": release.speculative_methods,
        }[what]
        for name in names:
            found[name] = (found.get(name, (version, version))[0], version)
    return MappingProxyType(found)


def first_version(what: What, name: str) -> str | None:
    """The first release that has it; None for one that never was."""
    return spans(what).get(name, (None, None))[0]


def last_version(what: What, name: str) -> str | None:
    """The last release that has it."""
    return spans(what).get(name, (None, None))[1]


def speculative_methods() -> Mapping[str, tuple[str, str]]:
    """Every method that a release had."""
    return spans("methods")
