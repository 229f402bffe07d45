"""The profile's engine arguments in the words of the engine and backend that it names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runners.engines import tensorrt_llm, tgi, vllm
from runners.engines.counterpart import Counterpart, Said, Unsaid, merged, word
from runners.profiles.model import Profile


@dataclass(frozen=True)
class Refused:
    """An argument that cannot be said; key: its dotted path in the profile."""

    key: str
    why: str
    fix: str

    def line(self) -> str:
        """What, why and the way out in one line."""
        return f"{self.key}: {self.why}; {self.fix}"


@dataclass(frozen=True)
class Approximate:
    """An argument that the engine reads a little differently than vLLM does."""

    key: str
    why: str


@dataclass(frozen=True)
class Arguments:
    """What the engine is started with, besides model, name and port.

    flags: of its command line. config: of its YAML file (trtllm-serve), empty elsewhere.
    env: variables that stand for arguments. refused: what has no counterpart; when there is
    any, the rest does not do what the profile says.
    """

    flags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    approximate: tuple[Approximate, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """One backend's words. native: names that pass as they are, `flags` on the command line
    and `keys` in the YAML file. owned: what the toolkit sets itself, with the reason."""

    table: Mapping[str, Counterpart]
    owned: Mapping[str, str]
    flags: frozenset[str]
    keys: frozenset[str] = frozenset()
    always: Said = Said()  # noqa: RUF009 - frozen itself
    unknown: Unsaid | None = None
    # trtllm-serve and tritonserver spell flags as the keys are spelled or with dashes.
    dashes: bool = True


DIALECTS = {
    "tgi": Dialect(tgi.ARGUMENTS, tgi.OWNED, tgi.NATIVE, always=Said(flags=tgi.ALWAYS)),
    "tensorrt-llm": Dialect(
        tensorrt_llm.ARGUMENTS,
        tensorrt_llm.OWNED,
        tensorrt_llm.NATIVE_FLAGS,
        tensorrt_llm.NATIVE,
        Said(config=tensorrt_llm.ALWAYS),
        dashes=False,
    ),
    "triton": Dialect(
        {},
        tensorrt_llm.TRITON_OWNED,
        tensorrt_llm.TRITON_NATIVE,
        unknown=tensorrt_llm.TRITON_REFUSAL,
    ),
}


def backend_of(profile: Profile) -> str:
    """The way it is served on KServe; by default the engine's own image."""
    return profile.engine.backend or profile.engine.name


def engine_arguments(profile: Profile, args: Mapping[str, Any] | None = None) -> Arguments:
    """engine.args for the profile's backend; vLLM's names are understood by all of them.

    args: in place of engine.args, where those had to be resolved first. An engine's own name
    beats the vLLM name for the same setting. Null values set nothing.
    """
    given = {
        name.strip().lstrip("-").replace("-", "_"): value
        for name, value in (profile.engine.args if args is None else args).items()
        if value is not None
    }
    dialect = DIALECTS.get(backend_of(profile))
    return _vllm(given) if dialect is None else _translated(given, dialect, backend_of(profile))


def _vllm(given: Mapping[str, Any]) -> Arguments:
    refused = [
        Refused(f"engine.args.{name}", f"cannot be set here: {why}", "remove it")
        for name in given
        if (why := vllm.owned(name)) is not None
    ]
    kept = {name: value for name, value in given.items() if vllm.owned(name) is None}
    return Arguments(tuple(vllm.flags(kept)), refused=tuple(refused))


def _translated(given: Mapping[str, Any], dialect: Dialect, backend: str) -> Arguments:
    flags, config = dict(dialect.always.flags), dict(dialect.always.config)
    own_flags: dict[str, tuple[str, ...]] = {}
    own_config: dict[str, Any] = {}
    env: dict[str, str] = {}
    refused: list[Refused] = []
    approximate: list[Approximate] = []
    for name, value in given.items():
        key = f"engine.args.{name}"
        if name in dialect.owned:
            why = f"cannot be set here: {dialect.owned[name]}"
            refused.append(Refused(key, why, "remove it"))
        elif name in dialect.table:
            outcome = dialect.table[name](value, given)
            if isinstance(outcome, Unsaid):
                refused.append(Refused(key, outcome.why, outcome.fix))
                continue
            flags |= outcome.flags
            config = merged(config, outcome.config)
            env |= outcome.env
            if outcome.note:
                approximate.append(Approximate(key, outcome.note))
        elif name in dialect.keys:
            own_config[name] = value
        elif name in dialect.flags:
            own_flags |= _native_flag(name, value, dialect.dashes)
        else:
            unsaid = dialect.unknown or Unsaid(f"{backend} has no counterpart of it")
            refused.append(Refused(key, unsaid.why, unsaid.fix))
    return Arguments(
        tuple(words(flags | own_flags)),
        merged(config, own_config),
        env,
        tuple(refused),
        tuple(approximate),
    )


def _native_flag(name: str, value: Any, dashes: bool) -> dict[str, tuple[str, ...]]:
    """True is a bare flag, False none at all."""
    flag = f"--{name.replace('_', '-') if dashes else name}"
    if isinstance(value, bool):
        return {flag: ()} if value else {}
    return {flag: (word(value),)}


def words(flags: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Flags as a command line; a value that begins with a dash is joined to its flag."""
    found: list[str] = []
    for flag, values in flags.items():
        if len(values) == 1 and values[0].startswith("-"):
            found.append(f"{flag}={values[0]}")
        else:
            found += [flag, *values]
    return found
