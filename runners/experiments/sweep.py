"""Every combination of some settings: servers outermost, so that each is started once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

from runners.errors import UsageError
from runners.experiments.rounds import Conclusion, Finished, Round, first_free
from runners.experiments.variants import parsed_values, side_name
from runners.profiles.engine_section import Json
from runners.profiles.error import ProfileError
from runners.profiles.load import Loaded, Override, load_profile
from runners.profiles.model import Profile

# A change of these needs another server; of everything else only another load.
_SERVER = ("engine", "model", "resources", "serving", "target", "url", "extends")


@dataclass(frozen=True)
class Axis:
    """A profile key and the values it takes."""

    key: str
    values: tuple[Json, ...]

    @property
    def needs_server(self) -> bool:
        """Whether each value needs a start of its own."""
        return self.key.partition(".")[0] in _SERVER


@dataclass(frozen=True)
class Server:
    """One setting of the server. refused: why the validator rejects it; it is not started."""

    name: str
    values: dict[str, Json] = field(default_factory=dict)
    refused: str | None = None


@dataclass(frozen=True)
class Sweep:
    """`repeats` rounds of every cell; cells of one server follow each other.

    servers: in their order. loads: what each cell lays over the load, e.g.
    {"load.concurrency": 4}.
    """

    servers: tuple[Server, ...]
    loads: tuple[dict[str, Json], ...]
    repeats: int = 1
    kind: str = "sweep"
    together: bool = False

    def settings(self) -> dict[str, Any]:
        return {
            "servers": [asdict(server) for server in self.servers],
            "loads": [dict(load) for load in self.loads],
            "repeats": self.repeats,
        }

    @property
    def usable(self) -> tuple[Server, ...]:
        return tuple(server for server in self.servers if server.refused is None)

    def next_round(self, profile: Profile, finished: Sequence[Finished]) -> Round | None:
        index = first_free(finished)
        per_server = len(self.loads) * self.repeats
        if index >= len(self.usable) * per_server:
            return None
        place, inside = divmod(index, per_server)
        cell, number = divmod(inside, self.repeats)
        server = self.usable[place]
        name = "-".join(filter(None, [server.name, f"cell-{cell + 1}", f"round-{number + 1}"]))
        # Cells of one server have prompts of their own: none finds another's in its cache.
        seed = profile.load.seed + inside
        return Round(index, name, seed, self.loads[cell], server.name)

    def progress_text(self, profile: Profile, coming: Round) -> str:
        total = len(self.usable) * len(self.loads) * self.repeats
        said = ", ".join(f"{key} {value}" for key, value in coming.varied.items())
        where = f"{coming.side}: {said}" if said else str(coming.side)
        return f"Cell {coming.index + 1} of {total}: {where}, seed {coming.seed}"

    def conclusion(self, profile: Profile, finished: Sequence[Finished]) -> Conclusion:
        total = len(self.usable) * len(self.loads) * self.repeats
        refused = {server.name: server.refused for server in self.servers if server.refused}
        text = f"{len(finished)} of {total} rounds"
        if refused:
            text += f"; {len(refused)} of {len(self.servers)} servers refused by the validator"
        return Conclusion(text, {"rounds": len(finished), "asked": total, "refused": refused})

    def values_of(self, side: str | None) -> dict[str, Json]:
        """What a server's settings are, by key."""
        return next((dict(each.values) for each in self.servers if each.name == side), {})


def read_axis(text: str) -> Axis:
    """`KEY=A,B,…` as an axis. Raises UsageError."""
    key, values = parsed_values(text, least=1)
    return Axis(key, tuple(values))


def sweep_of(
    profile: str, overrides: Sequence[Override], axes: Sequence[Axis], repeats: int
) -> tuple[Sweep, dict[str, Loaded]]:
    """The sweep over all combinations, and the profiles of the servers that can be started.

    Raises UsageError where an axis is given twice or every server is refused.
    """
    from runners.checks.check import checked

    keys = [axis.key for axis in axes]
    if len(set(keys)) != len(keys):
        raise UsageError(f"--vary: {max(keys, key=keys.count)} is given twice")
    outer = [axis for axis in axes if axis.needs_server]
    inner = [axis for axis in axes if not axis.needs_server]
    servers: list[Server] = []
    profiles: dict[str, Loaded] = {}
    for values in _combinations(outer):
        text = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
        name = side_name(text or "server", {server.name: server for server in servers})
        asked = [*overrides, *(Override(key, value, "--vary") for key, value in values.items())]
        try:
            profiles[name] = checked(load_profile(profile, asked))
            servers.append(Server(name, values))
        except ProfileError as error:
            servers.append(Server(name, values, str(error)))
    if not profiles:
        raise UsageError(f"no server of this sweep can be started: {servers[0].refused}")
    loads = tuple(_combinations(inner))
    first = next(iter(profiles.values()))
    for load in loads:  # a value that cannot be is said now, not after an hour
        over = [Override(key, value, "--vary") for key, value in load.items()]
        load_profile(first.path, [*overrides, *over])
    return Sweep(tuple(servers), loads, repeats), profiles


def _combinations(axes: Sequence[Axis]) -> list[dict[str, Json]]:
    return [
        dict(zip((axis.key for axis in axes), values, strict=True))
        for values in product(*(axis.values for axis in axes))
    ]


def sweep_again(settings: Mapping[str, Any]) -> Sweep:
    """What `settings()` gave, back again. Raises KeyError or TypeError for anything else."""
    return Sweep(
        tuple(Server(**server) for server in settings["servers"]),
        tuple(dict(load) for load in settings["loads"]),
        settings["repeats"],
    )
