"""Which machines are paid for while a run is measured: GPUs, processors, memory and nodes."""

import re
from dataclasses import dataclass
from typing import Any

from runners.checks.amounts import gib
from runners.checks.tables import gpu
from runners.measure.records import Recorded
from runners.profiles.model import Profile
from runners.profiles.serving_section import Gpu

_GPUS = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi")
_MIG = re.compile(r"nvidia\.com/mig-(\d+g\.\d+gb)\S*")
_SHARED = "nvidia.com/gpu.shared"
_POD = re.compile(r"pod (\S+) ")
_CHANGES = {"pod added": 1, "pod lost": -1}


@dataclass(frozen=True)
class Machines:
    """What is paid for at one time. gpus: a MIG slice counts as its fraction."""

    pods: float
    nodes: float
    gpus: float
    vcpus: float
    memory_gib: float

    def __add__(self, other: "Machines") -> "Machines":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Machines(*(mine + its for mine, its in pairs))

    def times(self, factor: float) -> "Machines":
        return Machines(*(amount * factor for amount in vars(self).values()))


NOTHING = Machines(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Change:
    """Pods that came or went, with what they had (a loss is negative)."""

    unix_s: float
    by: Machines


@dataclass(frozen=True)
class Paid:
    """Machines over time: those at the start, and every change, in order of time.

    known_from: cluster (the pods that were seen) or profile (what it asks for).
    """

    start: Machines
    changes: tuple[Change, ...]
    known_from: str

    def mean(self, start_unix_s: float, end_unix_s: float) -> Machines:
        """Over a stretch of time, weighted by it."""
        now, since, total = self.start, start_unix_s, NOTHING
        for change in self.changes:
            at = min(max(change.unix_s, start_unix_s), end_unix_s)
            total += now.times(at - since)
            now, since = now + change.by, at
        length = end_unix_s - start_unix_s
        return (total + now.times(end_unix_s - since)).times(1 / length) if length > 0 else now

    def within(self, start_unix_s: float, end_unix_s: float) -> int:
        """How many changes fall into a stretch of time."""
        return sum(start_unix_s < change.unix_s <= end_unix_s for change in self.changes)


def paid_machines(run: Recorded) -> Paid | str:
    """From the pods that were seen, else from the profile; or why they are not known."""
    facts = (run.environment.get("engine") or {}).get("facts") or {}
    cluster = facts.get("cluster") or {}
    pods = cluster.get("pods") or []
    if not pods:
        asked = asked_machines(run.profile)
        return asked if isinstance(asked, str) else Paid(asked, (), "profile")
    product = _product(cluster)
    each: dict[str, Machines] = {}
    for pod in pods:
        found = _of_pod(pod, run.profile, product)
        if isinstance(found, str):
            return found
        each[str(pod.get("name"))] = found
    nodes = {str(pod.get("node") or pod.get("name")) for pod in pods}
    start = sum(each.values(), NOTHING)
    start = Machines(start.pods, len(nodes), start.gpus, start.vcpus, start.memory_gib)
    return Paid(start, tuple(_changes(facts.get("disturbances") or [], each)), "cluster")


def asked_machines(profile: Profile) -> Machines | str:
    """Decode or only side, worker nodes and prefill side, as the profile asks for them."""
    serving, target = profile.serving, profile.target
    scaling = serving.autoscaling
    if target == "kserve" and scaling.autoscaler != "none":
        if scaling.min_replicas != scaling.max_replicas:
            return "replicas are scaled and the pods were not seen: how many there were is unknown"
        replicas = scaling.max_replicas
    else:
        replicas = serving.replicas
    if target == "local":  # one engine, whatever the profile would ask of a cluster
        return _replica(profile, profile.resources.gpu, 1)
    main = _replica(profile, profile.resources.gpu, serving.nodes)
    if isinstance(main, str) or serving.prefill is None:
        return main if isinstance(main, str) else main.times(replicas)
    prefill = _replica(profile, serving.prefill.gpu or profile.resources.gpu, 1)
    if isinstance(prefill, str):
        return prefill
    return main.times(replicas) + prefill.times(serving.prefill.replicas)


def _replica(profile: Profile, asked: Gpu, nodes: int) -> Machines | str:
    share = mig_share(asked.type, asked.mig) if asked.mig and asked.count else 1.0
    if isinstance(share, str):
        return share
    memory = gib(profile.resources.memory) or 0.0
    one = Machines(1, 1, asked.count * share, _cpus(profile.resources.cpu), memory)
    return one.times(nodes)


def mig_share(kind: str | None, slice_: str) -> float | str:
    """The part of a GPU that a MIG slice is: 1 / how many of it fit; or why not known."""
    facts = gpu(kind) if kind else None
    if facts is None:
        known = f"resources.gpu.type {kind!r} is not known" if kind else "resources.gpu.type"
        return f"the fraction that {slice_} is of a GPU needs {known}; name the GPU there"
    fit = (facts.mig or {}).get(slice_.partition("+")[0])
    if not fit:
        return f"it is not known here how many {slice_} fit on {kind}"
    return 1 / fit


def _of_pod(pod: dict[str, Any], profile: Profile, product: str | None) -> Machines | str:
    limits = {str(key): str(value) for key, value in (pod.get("limits") or {}).items()}
    if _SHARED in limits:
        return "GPUs are shared by time: which part of one the pods pay for is not known"
    kind, gpus = profile.resources.gpu.type or product, 0.0
    for key, amount in limits.items():
        share: float | str = 0.0
        if match := _MIG.fullmatch(key):
            share = mig_share(kind, match[1])
        elif key in _GPUS:
            # With MIG strategy `single` a slice is called a GPU.
            share = mig_share(kind, profile.resources.gpu.mig) if profile.resources.gpu.mig else 1.0
        if isinstance(share, str):
            return share
        gpus += float(amount) * share if share else 0.0
    cpus = _cpus(limits.get("cpu", profile.resources.cpu))
    memory = gib(limits.get("memory", profile.resources.memory)) or 0.0
    return Machines(1, 1, gpus, cpus, memory)


def _product(cluster: dict[str, Any]) -> str | None:
    """The GPU that the nodes' labels name."""
    labels = [node or {} for node in (cluster.get("nodes") or {}).values()]
    found = {
        label["nvidia.com/gpu.product"] for label in labels if "nvidia.com/gpu.product" in label
    }
    return str(found.pop()) if len(found) == 1 else None


def _changes(told: list[dict[str, Any]], pods: dict[str, Machines]) -> list[Change]:
    """Pods that came are like the mean of those at the start, on a node of their own."""
    usual = sum(pods.values(), NOTHING).times(1 / len(pods))
    found = []
    for each in sorted(told, key=lambda one: float(one.get("unix_s") or 0.0)):
        sign = _CHANGES.get(str(each.get("kind")))
        if sign is None:
            continue
        name = _POD.search(str(each.get("text")))
        found.append(
            Change(float(each["unix_s"]), pods.get(name[1] if name else "", usual).times(sign))
        )
    return found


def _cpus(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
