"""Logs of pods: read them, keep them, and find in them why a container ended."""

import re
from collections.abc import Iterable
from pathlib import Path

from runners.cluster.api import ApiError, Connection, Object, path_of, send
from runners.cluster.readiness import Readiness
from runners.cluster.seen import name_of, statuses
from runners.engines import vllm
from runners.rundir import writing

_AT_MOST_BYTES = 20_000_000
# Trying again cannot help: the model, the key or the flag is wrong.
_POINTLESS = re.compile(
    r"argument refused|rejected: |model not found|\b40[134]\b|NoSuchBucket|NoSuchKey"
    r"|RepositoryNotFound|GatedRepo|Unauthorized|Forbidden|Access ?Denied",
    re.IGNORECASE,
)


def read_log(connection: Connection, pod: str, container: str, previous: bool = False) -> str:
    """What a container wrote; previous: before it was last restarted. Raises ApiError."""
    query = [("container", container), ("limitBytes", str(_AT_MOST_BYTES))]
    if previous:
        query.append(("previous", "true"))
    path = path_of(connection, "Pod", pod, sub="log")
    return send(connection, "get", path, query=query).decode("utf-8", "replace")


def hear(connection: Connection, readiness: Readiness, logs: Path) -> None:
    """Read and keep the log of each container that crashed since last time."""
    for crash in readiness.unheard():
        try:
            text = read_log(connection, crash.pod, crash.container, crash.previous)
        except ApiError as error:
            if error.may_pass:
                continue  # asked again at the next look
            text = ""
        keep(logs, crash.pod, crash.container, text)
        said = vllm.failure_reason(text)
        readiness.heard[crash.key] = (said, bool(_POINTLESS.search(said)))


def save_logs(connection: Connection, pods: Iterable[Object], logs: Path) -> None:
    """Keep the log of every container that has run; what cannot be read is left out."""
    for pod in pods:
        for _, status in statuses(pod):
            states = (status.get("state") or {}, status.get("lastState") or {})
            if not any(state.get("running") or state.get("terminated") for state in states):
                continue
            name, container = name_of(pod), status["name"]
            try:
                text = read_log(connection, name, container)
                if status.get("restartCount") and not text.strip():
                    text = read_log(connection, name, container, previous=True)
            except ApiError:
                continue
            if text.strip():
                keep(logs, name, container, text)


def keep(logs: Path, pod: str, container: str, text: str) -> None:
    """Write logs/<pod>-<container>.log; an earlier one of the same container stays above it."""
    path = logs / f"{pod}-{container}.log"
    with writing(path):
        logs.mkdir(parents=True, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.startswith(before):
            path.write_text(text, encoding="utf-8")
        elif text not in before:
            path.write_text(before.rstrip("\n") + "\n" + text, encoding="utf-8")
