"""Create, replace, patch and apply: from a request body to a commit."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.kube import apply, patches
from tests.kube.admission import complete, desired, generated_name, with_generation
from tests.kube.deletion import Collector
from tests.kube.errors import (
    FieldProblem,
    Object,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    modified,
    not_found,
    unsupported_media_type,
)
from tests.kube.resources import CORE, Resource
from tests.kube.schemas import Schema, Schemas
from tests.kube.storage import Store
from tests.kube.validation import (
    check_decoding,
    check_values,
    dotted,
    prune,
    typed_patch_error,
    unknown_fields,
)

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
NAMESPACES = next(each for each in CORE if each.plural == "namespaces")


@dataclass
class Target:
    """What a write is about, and how: from the path and the query of a request."""

    resource: Resource
    version: str
    namespace: str
    name: str = ""
    subresource: str = ""
    manager: str = ""
    strictness: str = "Warn"
    dry_run: bool = False
    force: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Writer:
    """Writes into one cluster. `hooks`: admission (quota, webhooks), may raise StatusError."""

    store: Store
    schemas: Schemas
    collector: Collector
    hooks: list[Callable[[Target, Object], None]] = field(default_factory=list)

    def create(self, target: Target, body: Object) -> Object:
        resource, schema = target.resource, self._schema(target)
        manifest = self._named(target, body)
        target.warnings += check_decoding(
            resource, target.version, schema, manifest, target.strictness
        )
        with self.store.lock:
            self._check_namespace(target, manifest["metadata"]["name"])
            if self.store.find(resource, target.namespace, manifest["metadata"]["name"]):
                raise already_exists(resource, manifest["metadata"]["name"])
            if "status" in resource.subresources:
                manifest.pop("status", None)
            item = self._new(target, schema, manifest)
            managed = apply.update(schema, None, item, self._manager(target, "Update"))
            return self._commit(target, schema, managed, None)

    def replace(self, target: Target, body: Object) -> Object:
        schema = self._schema(target)
        manifest = self._named(target, body)
        target.warnings += check_decoding(
            target.resource, target.version, schema, manifest, target.strictness
        )
        with self.store.lock:
            before = self.store.get(target.resource, target.namespace, target.name)
            wanted = manifest["metadata"].get("resourceVersion")
            if wanted not in (None, "", before["metadata"]["resourceVersion"]):
                raise modified(target.resource, target.name)
            uid = manifest["metadata"].get("uid")
            if uid not in (None, "", before["metadata"]["uid"]):
                raise conflict(
                    target.resource,
                    target.name,
                    f"Precondition failed: UID in precondition: {uid}, "
                    f"UID in object meta: {before['metadata']['uid']}",
                )
            return self._changed(target, schema, before, manifest)

    def patch(self, target: Target, content_type: str, body: bytes) -> tuple[Object, bool]:
        """The object, and whether it is new (server-side apply creates)."""
        if content_type == APPLY:
            return self._apply(target, body)
        if content_type not in (MERGE, JSON, STRATEGIC):
            raise unsupported_media_type(content_type)
        if content_type == STRATEGIC and target.resource.custom:
            raise unsupported_media_type(content_type)
        document = read_body(body)
        schema = self._schema(target)
        with self.store.lock:
            before = self.store.get(target.resource, target.namespace, target.name)
            if content_type == MERGE:
                after = patches.merge_patch(before, document)
            elif content_type == JSON:
                after = patches.json_patch(before, document)
            else:
                after = patches.strategic_patch(schema, before, document)
            wanted = after["metadata"].get("resourceVersion")
            if wanted != before["metadata"]["resourceVersion"] and wanted:
                raise modified(target.resource, target.name)
            self._check_patched(target, schema, after)
            return self._changed(target, schema, before, after), False

    def _apply(self, target: Target, body: bytes) -> tuple[Object, bool]:
        if not target.manager:
            problem = FieldProblem(
                "FieldValueRequired", "fieldManager", "Required value: is required for apply patch"
            )
            raise invalid("PatchOptions", "meta.k8s.io", "", [problem])
        schema, manifest = self._schema(target), read_body(body)
        self._check_identity(target, manifest)
        manifest.setdefault("metadata", {}).setdefault("name", target.name)
        if target.namespace:
            manifest["metadata"].setdefault("namespace", target.namespace)
        refused = typed_patch_error(schema, manifest, manifest["apiVersion"])
        if refused is not None:
            raise refused
        writer = self._manager(target, "Apply")
        with self.store.lock:
            before = self.store.find(target.resource, target.namespace, target.name)
            if before is None:
                if target.subresource or manifest["metadata"].get("uid"):
                    raise not_found(target.resource, target.name)
                self._check_namespace(target, target.name)
                applied = apply.apply(schema, None, manifest, writer, target.force)
                item = self._new(target, schema, applied)
                return self._commit(target, schema, item, None), True
            for name in ("resourceVersion", "uid"):
                if manifest["metadata"].pop(name, None) not in (None, before["metadata"][name]):
                    raise modified(target.resource, target.name)
            after = apply.apply(schema, before, manifest, writer, target.force)
            kept = self._kept(target, before, prune(schema, after))
            return self._commit(target, schema, kept, before), False

    def _changed(self, target: Target, schema: Schema, before: Object, after: Object) -> Object:
        kept = self._kept(target, before, prune(schema, after))
        kept = complete(self.store, target.resource, kept) if not target.subresource else kept
        managed = apply.update(schema, before, kept, self._manager(target, "Update"))
        return self._commit(target, schema, managed, before)

    def _commit(
        self, target: Target, schema: Schema, item: Object, before: Object | None
    ) -> Object:
        """Raises what validation and admission refuse; a dry run ends before the commit."""
        check_values(target.resource, schema, item)
        item = with_generation(target.resource, item, before)
        for hook in self.hooks:
            hook(target, item)
        if target.dry_run:
            return {**item, "metadata": {**item["metadata"]}}
        written = self.store.put(target.resource, item)
        return self.collector.finalized(target.resource, written)

    def _new(self, target: Target, schema: Schema, manifest: Object) -> Object:
        fresh = self.store.new_metadata(prune(schema, manifest))
        for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"):
            fresh["metadata"].pop(name, None)
        fresh["apiVersion"] = target.resource.api_version(target.version)
        return complete(self.store, target.resource, fresh)

    def _kept(self, target: Target, before: Object, after: Object) -> Object:
        """What a write cannot change: identity, and either the status or all but the status."""
        has_status = "status" in target.resource.subresources
        if target.subresource == "status":
            after = {**before, "status": after.get("status", {})}
        elif has_status:
            after = {name: value for name, value in after.items() if name != "status"}
            if "status" in before:
                after["status"] = before["status"]
        metadata = copy.deepcopy(after["metadata"])
        for name in (
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ):
            metadata.pop(name, None)
            if name in before["metadata"]:
                metadata[name] = before["metadata"][name]
        return {**after, "metadata": metadata}

    def _check_patched(self, target: Target, schema: Schema, after: Object) -> None:
        unknown = [f'unknown field "{dotted(path)}"' for path in unknown_fields(schema, after)]
        if unknown and target.strictness == "Strict":
            detail = f"Invalid value: {desired(after)}: strict decoding error: {', '.join(unknown)}"
            problem = FieldProblem("FieldValueInvalid", "patch", detail)
            raise invalid("", "", "", [problem])
        if target.strictness == "Warn":
            target.warnings += unknown

    def _schema(self, target: Target) -> Schema:
        return self.schemas.of(target.resource, target.version)

    def _manager(self, target: Target, operation: str) -> apply.Manager:
        return apply.Manager(
            target.manager or "unknown",
            operation,
            target.resource.api_version(target.version),
            self.store.timestamp(),
            frozenset(),
            target.subresource,
        )

    def _named(self, target: Target, body: Object) -> Object:
        manifest = copy.deepcopy(body)
        self._check_identity(target, manifest)
        metadata = manifest.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(metadata["generateName"])
        if not metadata.get("name"):
            problem = FieldProblem(
                "FieldValueRequired",
                "metadata.name",
                "Required value: name or generateName is required",
            )
            raise invalid(target.resource.kind, target.resource.group, "", [problem])
        if target.namespace:
            metadata["namespace"] = target.namespace
        return manifest

    def _check_identity(self, target: Target, manifest: Mapping[str, Any]) -> None:
        """apiVersion, kind, name and namespace must be those of the path."""
        wanted = target.resource.api_version(target.version)
        for name, expected in (("apiVersion", wanted), ("kind", target.resource.kind)):
            given = manifest.get(name)
            if not given and name == "kind":
                raise bad_request(f"Object 'Kind' is missing in '{str(dict(manifest))[:80]}'")
            if given != expected:
                raise bad_request(
                    f"the API version in the data ({manifest.get('apiVersion')}) does not match "
                    f"the expected API version ({wanted})"
                    if name == "apiVersion"
                    else f"the kind in the data ({given}) does not match the expected kind "
                    f"({expected})"
                )
        metadata = manifest.get("metadata") or {}
        for name, label in (("namespace", "namespace"), ("name", "name")):
            given, expected = metadata.get(name), getattr(target, name)
            if given and expected and given != expected:
                raise bad_request(
                    f"the {label} of the provided object does not match the {label} sent on the "
                    "request"
                    if name == "namespace"
                    else f"the name of the object ({given}) does not match the name on the URL "
                    f"({expected})"
                )

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.resource.namespaced:
            return
        found = self.store.get(NAMESPACES, "", target.namespace)
        if "deletionTimestamp" in found["metadata"]:
            why = (
                f"unable to create new content in namespace {target.namespace} "
                "because it is being terminated"
            )
            raise forbidden(target.resource, name, why)


def read_body(body: bytes) -> Any:
    """JSON or YAML, raises 400."""
    try:
        return yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as failure:
        raise StatusError(400, "BadRequest", f"error decoding YAML: {failure}") from failure
