"""Names, labels and annotations: how an object of ours is known."""

import math
import re

from runners.errors import UsageError
from runners.profiles.model import Profile
from runners.render.names import label_value, service_name
from runners.render.templates import Object

MANAGED_BY = "kserve-bench"
RUN_LABEL = "kserve-bench/run"
PROFILE_LABEL = "kserve-bench/profile"
TTL_ANNOTATION = "kserve-bench/ttl-seconds"

_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}\w)?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def service_of(profile: Profile) -> str:
    """Name of the InferenceService that a run creates."""
    return profile.serving.service or service_name(profile.name)


def metadata(profile: Profile, name: str, run_id: str | None) -> Object:
    """Name, namespace where the profile has one, the labels by which we know our own."""
    namespace = profile.serving.namespace
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": labels(profile, run_id),
        "annotations": {TTL_ANNOTATION: str(time_to_live_s(profile))},
    }


def labels(profile: Profile, run_id: str | None) -> dict[str, str]:
    """Of every object and its pods: the profile's, then ours, which it cannot replace.

    Raises UsageError for a label that Kubernetes would refuse or that is ours.
    """
    own = {
        "app.kubernetes.io/managed-by": MANAGED_BY,
        PROFILE_LABEL: label_value(profile.name),
    }
    if run_id is not None:
        own[RUN_LABEL] = label_value(run_id)
    given = profile.serving.labels
    refuse_ours("serving.labels", given, {*own, RUN_LABEL})
    for key, value in given.items():
        if not _KEY.fullmatch(key):
            raise UsageError(f"serving.labels: {key!r} is no label's name; write name or host/name")
        if not _VALUE.fullmatch(value):
            raise UsageError(
                f"serving.labels.{key}: {value!r} is no label's value; "
                "use up to 63 letters, digits, dots, dashes and underscores"
            )
    return {**given, **own}


def refuse_ours(place: str, given: dict[str, str], ours: set[str]) -> None:
    """UsageError for a key that the toolkit sets itself."""
    for key in given:
        if key in ours or key.startswith("kserve-bench/"):
            raise UsageError(f"{place}: {key} is set by the toolkit; remove it")


def annotations_of(profile: Profile, ours: dict[str, str]) -> dict[str, str]:
    """Of the InferenceService: the profile's, then ours. Raises UsageError as `labels` does."""
    given = profile.serving.annotations
    refuse_ours("serving.annotations", given, set(ours))
    for key in given:
        if not _KEY.fullmatch(key):
            raise UsageError(
                f"serving.annotations: {key!r} is no annotation's name; write name or host/name"
            )
    return {**given, **ours}


def time_to_live_s(profile: Profile) -> int:
    """Seconds after its creation at which an object is an orphan: start-up, load, an hour."""
    load_s = profile.load.duration_s or 3600.0
    return math.ceil(profile.serving.startup_timeout_s + load_s + 3600.0)


def kserve_version(profile: Profile) -> tuple[int, int]:
    """KServe's release: (0, 20) for 0.20.1."""
    parts = profile.serving.kserve_version.split(".")
    return int(parts[0]), int(parts[1])
