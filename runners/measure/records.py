"""What a run left behind, as columns. Times are float ns from the start of load, NaN unknown."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import ValidationError

from runners.errors import UsageError
from runners.measure.chunks import Chunks, read_chunks
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.telemetry.counters import ServerMetrics, read_server

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

INTERRUPTED = "interrupted"
OK = "ok"
NOT_SENT = "not_sent"


@dataclass(frozen=True)
class Requests:
    """One entry per request, in order of sending (intended time where never sent).

    outcome: index into `outcomes`: "ok", "not_sent" or an error class.
    token_source: index into `token_sources`, -1 unknown.
    """

    request_id: Ints
    warmup: Bools
    intended: Floats
    sent: Floats
    first: Floats
    last: Floats
    end: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    chunks: Floats
    capped: Bools
    connect: Floats
    tls: Floats
    outcome: Ints
    outcomes: tuple[str, ...]
    token_source: Ints
    token_sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.request_id)

    def where_outcome(self, name: str) -> Bools:
        if name not in self.outcomes:
            return np.zeros(len(self), np.bool_)
        return np.asarray(self.outcome == self.outcomes.index(name))

    @cached_property
    def ok(self) -> Bools:
        return self.where_outcome(OK)

    @cached_property
    def failed(self) -> Bools:
        """Failed by itself: not ok, not cut off by an interrupt, not merely never sent."""
        cut = self.where_outcome(INTERRUPTED) | self.where_outcome(NOT_SENT)
        return ~self.ok & ~cut

    @cached_property
    def begun(self) -> Floats:
        """When it was sent; where it never got so far (refused connection), its intended time."""
        return np.where(np.isnan(self.sent), self.intended, self.sent)

    @cached_property
    def arrived(self) -> Floats:
        """Arrival of its first content, or of the whole body where it was not streamed."""
        return np.where(np.isnan(self.first), self.last, self.first)


@dataclass(frozen=True)
class Plan:
    """What the schedule asked for (open loop): measured requests only, by intended time."""

    request_id: Ints
    intended: Floats


@dataclass(frozen=True)
class Recorded:
    """Everything `measure` reads of a run."""

    run_id: str
    profile: Profile
    environment: dict[str, Any]
    requests: Requests
    chunks: Chunks | None
    plan: Plan | None
    server: ServerMetrics | None

    @property
    def load(self) -> dict[str, Any]:
        found = self.environment.get("load")
        return found if isinstance(found, dict) else {}

    @property
    def open_loop(self) -> bool:
        return self.pattern != "closed"

    @property
    def pattern(self) -> str:
        return str(self.load.get("pattern") or self.profile.load.resolved_pattern())

    @property
    def interrupted(self) -> bool:
        return bool(self.load.get("interrupted"))


def read_run(run: RunDirectory) -> Recorded:
    """Read a run directory. Raises UsageError where its records are missing or unreadable."""
    import pyarrow as pa

    try:
        if not (run / "requests.parquet").exists():
            raise UsageError(
                f"{run.path}: requests.parquet is missing; there is no load to measure"
            )
        profile = _read_profile(run)
        everything = profile.load.window == "none"
        requests = _read_requests(run, everything)
        highest = int(requests.request_id.max(initial=-1))
        chunks = read_chunks(run / "chunks.parquet", highest + 1)
        plan = _read_plan(run, everything)
        server = read_server(run / "server.parquet")
        environment = run.read_json("environment.json") or {}
    except (OSError, KeyError, ValueError, pa.ArrowException, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{run.path}: cannot read its records ({reason}); it has to be run again"
        ) from error
    return Recorded(run.run_id, profile, environment, requests, chunks, plan, server)


def _read_profile(run: RunDirectory) -> Profile:
    path = run / "profile.yaml"
    if not path.exists():
        raise UsageError(f"{run.path}: profile.yaml is missing; is this a run directory?")
    try:
        return Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {key}: {first['msg']}; restore the resolved profile") from error


def _read_requests(run: RunDirectory, everything: bool) -> Requests:
    """everything: what was sent as warm-up counts like the rest."""
    import pyarrow.parquet as pq

    table = pq.read_table(run / "requests.parquet")
    sent, intended = _floats(table["sent_ns"]), _floats(table["intended_ns"])
    order = np.argsort(np.where(np.isnan(sent), intended, sent), kind="stable")

    def floats(name: str) -> Floats:
        return np.asarray(_floats(table[name])[order])

    def timed(name: str) -> Floats:
        """Of runs before this was recorded nothing is known."""
        return floats(name) if name in table.column_names else np.full(len(order), np.nan)

    error, classes = _words(table["error"])
    unsent = np.isnan(sent) & (error < 0)
    names = (OK, NOT_SENT, *classes)
    source, sources = _words(table["token_source"])
    return Requests(
        request_id=table["request_id"].to_numpy().astype(np.int64)[order],
        warmup=_bools(table["warmup"])[order] & (not everything),
        intended=intended[order],
        sent=sent[order],
        first=floats("first_content_ns"),
        last=floats("last_content_ns"),
        end=floats("end_ns"),
        prompt_tokens=floats("prompt_tokens"),
        output_tokens=floats("output_tokens"),
        chunks=floats("chunks"),
        capped=_bools(table["capped"])[order],
        connect=timed("connect_ns"),
        tls=timed("tls_ns"),
        outcome=np.where(unsent, 1, np.where(error < 0, 0, error + 2))[order],
        outcomes=names,
        token_source=source[order],
        token_sources=sources,
    )


def _read_plan(run: RunDirectory, everything: bool) -> Plan | None:
    import pyarrow.parquet as pq

    path = run / "schedule.parquet"
    if not path.exists():
        return None
    table = pq.read_table(path, columns=["request_id", "intended_ns", "warmup"])
    intended = _floats(table["intended_ns"])
    kept = (everything | ~_bools(table["warmup"])) & ~np.isnan(intended)
    if not kept.any():
        return None
    order = np.argsort(intended[kept], kind="stable")
    ids = table["request_id"].to_numpy().astype(np.int64)
    return Plan(ids[kept][order], intended[kept][order])


def _floats(column: Any) -> Any:
    """A numeric column as floats; null becomes NaN."""
    return column.to_numpy().astype(np.float64, copy=False)


def _bools(column: Any) -> Bools:
    return np.asarray(column.fill_null(False).to_numpy(), np.bool_)


def _words(column: Any) -> tuple[Ints, tuple[str, ...]]:
    """A text column as codes (-1 for null) and the words they stand for."""
    import pyarrow as pa

    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes, tuple(encoded.dictionary.to_pylist())
