"""Find what killed runs left behind."""

from dataclasses import dataclass
from datetime import UTC, datetime

from runners.cluster.api import Connection, Object
from runners.cluster.apply import owner_of
from runners.cluster.seen import name_of
from runners.cluster.teardown import objects_of
from runners.render.metadata import TTL_ANNOTATION


@dataclass(frozen=True)
class Orphan:
    """Objects of one run; expires_in_s: seconds until its time is over, negative when it is.

    None: an object does not tell its time; it counts as over.
    """

    run: str
    objects: tuple[str, ...]
    age_s: float
    expires_in_s: float | None

    @property
    def expired(self) -> bool:
        return self.expires_in_s is None or self.expires_in_s <= 0


def orphans(connection: Connection) -> list[Orphan]:
    """Runs that have objects in the namespace, the oldest first. Raises ApiError.

    One that is not expired may be running right now: nothing here can tell.
    """
    by_run: dict[str, list[Object]] = {}
    for each in objects_of(connection, None):
        by_run.setdefault(owner_of(each) or "", []).append(each)
    now = datetime.fromtimestamp(connection.clock.unix(), UTC)
    found = [_orphan(run, objects, now) for run, objects in by_run.items()]
    return sorted(found, key=lambda each: -each.age_s)


def _orphan(run: str, objects: list[Object], now: datetime) -> Orphan:
    ages = []
    lefts: list[float] = []
    for each in objects:
        metadata = each["metadata"]
        age = (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds()
        ages.append(age)
        ttl = (metadata.get("annotations") or {}).get(TTL_ANNOTATION)
        if ttl is not None and str(ttl).isdecimal():
            lefts.append(float(ttl) - age)
    names = tuple(f"{each['kind'].lower()}/{name_of(each)}" for each in objects)
    return Orphan(run, names, max(ages), max(lefts) if lefts else None)


def age_text(seconds: float) -> str:
    """An age as a person says it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
