"""Container logs: what the scripted kubelet writes and `pods/log` reads."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.kube.errors import Object, bad_request
from tests.kube.storage import Store, timestamp

Place = tuple[str, str, str]


@dataclass
class Stream:
    """One life of a container: (Unix seconds, text) per line."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True)
class LogQuery:
    container: str
    previous: bool = False
    follow: bool = False
    tail: int | None = None
    since_s: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


class Logs:
    """Lines by namespace, pod and container, of the current life and of the one before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._current: dict[Place, Stream] = {}
        self._previous: dict[Place, Stream] = {}

    def append(self, namespace: str, pod: str, container: str, *lines: str) -> None:
        with self._store.lock:
            stream = self._current.setdefault((namespace, pod, container), Stream())
            stream.lines.extend((self._store.now(), line) for line in lines)
            self._store.lock.notify_all()

    def end(self, namespace: str, pod: str, container: str) -> None:
        """The container stopped: whoever follows its log is told so."""
        with self._store.lock:
            self._current.setdefault((namespace, pod, container), Stream()).ended = True
            self._store.lock.notify_all()

    def restart(self, namespace: str, pod: str, container: str) -> None:
        """A new life: what was current becomes `previous`."""
        place = (namespace, pod, container)
        with self._store.lock:
            last = self._current.pop(place, Stream())
            last.ended = True
            self._previous[place] = last
            self._current[place] = Stream()

    def forget(self, namespace: str, pod: str) -> None:
        with self._store.lock:
            for kept in (self._current, self._previous):
                for place in [each for each in kept if each[:2] == (namespace, pod)]:
                    kept.pop(place).ended = True
            self._store.lock.notify_all()

    def streams(self, namespace: str) -> list[Stream]:
        """Every log of a namespace, of present and previous lives."""
        with self._store.lock:
            kept = [*self._previous.items(), *self._current.items()]
        return [stream for place, stream in kept if place[0] == namespace]

    def read(self, pod: Object, query: LogQuery, stopped: Callable[[], bool]) -> Iterator[bytes]:
        """Lines as bytes; with `follow` until the container ends. Raises 400 as a kubelet does."""
        container = chosen_container(pod, query.container)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        kept = self._previous if query.previous else self._current
        stream = kept.get((namespace, name, container))
        if stream is None:
            raise bad_request(unavailable(pod, container, query.previous))
        return self._lines(stream, query, stopped)

    def _lines(
        self, stream: Stream, query: LogQuery, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        with self._store.lock:
            position = len(stream.lines)
            first = 0 if query.tail is None else max(position - query.tail, 0)
            shown = stream.lines[first:position]
        if query.since_s is not None:
            oldest = self._store.now() - query.since_s
            shown = [line for line in shown if line[0] >= oldest]
        left = query.limit_bytes
        for line in shown:
            raw = written(line, query.timestamps)
            yield raw if left is None else raw[: max(left, 0)]
            left = left if left is None else left - len(raw)
        while query.follow and not stopped():
            with self._store.lock:
                if position == len(stream.lines) and not stream.ended:
                    self._store.lock.wait(0.5)
                fresh, position = stream.lines[position:], len(stream.lines)
                over = stream.ended
            for line in fresh:
                yield written(line, query.timestamps)
            if over:
                return
            yield b""


def written(line: tuple[float, str], timestamps: bool) -> bytes:
    at, content = line
    if timestamps:
        fraction = f"{at - int(at):.9f}"[1:]
        content = f"{timestamp(at)[:-1]}{fraction}Z {content}"
    return content.encode() + b"\n"


def chosen_container(pod: Object, asked: str) -> str:
    """Raises 400 for a container that the pod does not have, or when several could be meant."""
    name, spec = pod["metadata"]["name"], pod.get("spec", {})
    own = [each["name"] for each in spec.get("containers") or ()]
    init = [each["name"] for each in spec.get("initContainers") or ()]
    if not spec.get("nodeName"):
        raise bad_request(f"pod {name} does not have a host assigned")
    if asked:
        if asked not in own + init:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(own) == 1:
        return str(own[0])
    first = f"a container name must be specified for pod {name}, choose one of: [{' '.join(own)}]"
    also = f" or one of the init containers: [{' '.join(init)}]" if init else ""
    raise bad_request(first + also)


def unavailable(pod: Object, container: str, previous: bool) -> str:
    name = pod["metadata"]["name"]
    if previous:
        return f'previous terminated container "{container}" in pod "{name}" not found'
    status = pod.get("status", {})
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if each["name"] == container:
            reason = each.get("state", {}).get("waiting", {}).get("reason", "PodInitializing")
            hint = ": trying and failing to pull image" if "Pull" in reason else f": {reason}"
            kind = "is waiting to start"
            return f'container "{container}" in pod "{name}" {kind}{hint}'
    return f'container "{container}" in pod "{name}" is not available'


def wait_for(condition: Callable[[], bool], store: Store, timeout_s: float) -> bool:
    """Block until something committed makes the condition true; real seconds."""
    deadline = time.monotonic() + timeout_s
    with store.lock:
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            store.lock.wait(min(left, 0.5))
    return True
