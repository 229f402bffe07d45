"""The schemas behind validation and merging: KServe's definitions and Kubernetes' own."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tests.kube.resources import Resource

Node = dict[str, Any]
KUBERNETES = "1.36.0"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "kserve-crds"


@dataclass(frozen=True)
class Schema:
    """A place in an OpenAPI schema; `definitions` are what its $refs mean (empty for a CRD)."""

    node: Node
    definitions: Mapping[str, Node]

    @property
    def open(self) -> bool:
        """Any field may stand here."""
        if self.node.get("x-kubernetes-preserve-unknown-fields"):
            return True
        extra = self.node.get("additionalProperties")
        bare = "properties" not in self.node and extra is None
        return extra is True or (bare and bool(self.definitions))

    @property
    def scalar_or_number(self) -> bool:
        """A quantity or a port: number or text."""
        return bool(self.node.get("x-kubernetes-int-or-string")) or "oneOf" in self.node

    @property
    def types(self) -> tuple[str, ...]:
        """JSON types; none where anything goes. null is told by `nullable`."""
        found = self.node.get("type")
        if self.scalar_or_number or found is None:
            return ()
        listed = [found] if isinstance(found, str) else found
        return tuple(each for each in listed if each != "null")

    @property
    def nullable(self) -> bool:
        return bool(self.node.get("nullable")) or "null" in self.node.get("type", ())

    @property
    def list_type(self) -> str:
        """map, set or atomic (the default)."""
        return str(self.node.get("x-kubernetes-list-type", "atomic"))

    @property
    def map_keys(self) -> tuple[str, ...]:
        return tuple(self.node.get("x-kubernetes-list-map-keys", ()))

    @property
    def atomic(self) -> bool:
        return self.node.get("x-kubernetes-map-type") == "atomic"

    def field(self, name: str) -> "Schema | None":
        """The schema of a field; None for one that is not declared."""
        declared = self.node.get("properties", {}).get(name)
        if declared is not None:
            return self._at(declared)
        extra = self.node.get("additionalProperties")
        if isinstance(extra, dict):
            return self._at(extra)
        return OPEN if self.open else None

    def items(self) -> "Schema":
        found = self.node.get("items")
        return self._at(found) if isinstance(found, dict) else OPEN

    def _at(self, node: Node) -> "Schema":
        while "$ref" in node:
            node = self.definitions[node["$ref"].rsplit("/", 1)[-1]]
        return Schema(node, self.definitions)


OPEN = Schema({"x-kubernetes-preserve-unknown-fields": True}, {})


@cache
def core_definitions() -> Mapping[str, Node]:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{KUBERNETES}-local"
    found: Mapping[str, Node] = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return found


@cache
def core_schema(group: str, version: str, kind: str) -> Schema:
    """Kubernetes' own kinds; an open schema for one that has no definition."""
    package = "io.k8s.api." + (group.split(".", maxsplit=1)[0] if group else "core")
    if group == "apiextensions.k8s.io":
        return OPEN
    definitions = core_definitions()
    node = definitions.get(f"{package}.{version}.{kind}")
    return OPEN if node is None else Schema(node, definitions)


@cache
def crd(path: Path) -> Node:
    """A CustomResourceDefinition from its file.

    As YAML the largest take half a second, so a copy as JSON is kept between test runs.
    """
    text = path.read_bytes()
    kept = CACHE / f"{hashlib.sha256(text).hexdigest()[:16]}.json"
    if kept.is_file():
        found: Node = json.loads(kept.read_bytes())
        return found
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(text, Loader=loader)
    with suppress(OSError):  # a folder that cannot be written costs only time
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(found), encoding="utf-8")
        fresh.replace(kept)
    return found


@dataclass(frozen=True)
class Schemas:
    """Schemas of one cluster. `crds`: KServe's definitions; None: they validate nothing."""

    crds: Path | None

    def definition_file(self, resource: Resource) -> Path | None:
        if self.crds is None:
            return None
        path = self.crds / f"{resource.group}_{resource.plural}.yaml"
        return path if path.is_file() else None

    def of(self, resource: Resource, version: str) -> Schema:
        if not resource.custom:
            return core_schema(resource.group, version, resource.kind)
        path = self.definition_file(resource)
        if path is None:
            return OPEN
        for each in crd(path)["spec"]["versions"]:
            if each["name"] == version:
                return Schema(each["schema"]["openAPIV3Schema"], {})
        return OPEN

    def definition(self, resource: Resource) -> Node:
        """The CustomResourceDefinition object of a custom resource."""
        path = self.definition_file(resource)
        return crd(path) if path is not None else minimal_definition(resource)


def minimal_definition(resource: Resource) -> Node:
    """A definition that validates nothing, as KServe's minimal charts install it."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.full_name},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == resource.versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {name: {} for name in resource.subresources},
                }
                for version in resource.versions
            ],
        },
    }
