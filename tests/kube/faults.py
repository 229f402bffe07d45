"""Faults of an API server, switched while it runs."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to the next `times` requests that match (None: to all, until cleared).

    kind: throttle (429), error (`code`), reset (connection reset before the request is
    handled), lost (handled, then reset: the client cannot know), slow (`delay_s` first).
    """

    kind: str
    times: int | None = 1
    code: int = 500
    retry_after_s: int = 1
    delay_s: float = 0.0
    message: str = "Internal error occurred: etcdserver: leader changed"
    matches: Callable[[str, str, str], bool] = lambda verb, resource, name: True
    hits: int = field(default=0)


class Faults:
    """Rules for requests; `verb` and `resource` (plural) narrow a rule, None means every one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def throttle(
        self,
        times: int | None = 1,
        *,
        retry_after_s: int = 1,
        verb: str | None = None,
        resource: str | None = None,
    ) -> Fault:
        matches = narrowed(verb, resource)
        return self.add(Fault("throttle", times, retry_after_s=retry_after_s, matches=matches))

    def fail(
        self,
        times: int | None = 1,
        *,
        code: int = 500,
        verb: str | None = None,
        resource: str | None = None,
    ) -> Fault:
        return self.add(Fault("error", times, code, matches=narrowed(verb, resource)))

    def reset(
        self,
        times: int | None = 1,
        *,
        handled: bool = False,
        verb: str | None = None,
        resource: str | None = None,
    ) -> Fault:
        """Cut the connection; handled=True: after the write has happened."""
        kind = "lost" if handled else "reset"
        return self.add(Fault(kind, times, matches=narrowed(verb, resource)))

    def slow(
        self,
        delay_s: float,
        times: int | None = None,
        *,
        verb: str | None = None,
        resource: str | None = None,
    ) -> Fault:
        return self.add(Fault("slow", times, delay_s=delay_s, matches=narrowed(verb, resource)))

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def next(self, verb: str, resource: str, name: str) -> Fault | None:
        """The fault that this request meets; counts it."""
        with self._lock:
            for fault in self._rules:
                if fault.times != 0 and fault.matches(verb, resource, name):
                    fault.hits += 1
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


def narrowed(verb: str | None, resource: str | None) -> Callable[[str, str, str], bool]:
    return lambda asked, plural, name: verb in (None, asked) and resource in (None, plural)
