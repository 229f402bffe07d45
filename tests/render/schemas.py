"""KServe's own definitions as JSON Schema, strict as the API server with strict validation."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

VERSIONS = ("0.15.2", "0.16.0", "0.17.1", "0.18.1", "0.19.0", "0.20.0")
PLURALS = {
    "InferenceService": "inferenceservices",
    "ServingRuntime": "servingruntimes",
    "LLMInferenceService": "llminferenceservices",
}


def strict(schema: Any) -> Any:
    """A structural schema as JSON Schema that refuses unknown fields, as the API server does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        pattern = {"pattern": schema["pattern"]} if "pattern" in schema else {}
        return {"type": ["integer", "string"], **pattern}
    changed = {key: strict(value) for key, value in schema.items()}
    open_ended = "additionalProperties" in schema or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if isinstance(schema.get("properties"), dict) and not open_ended:
        changed["additionalProperties"] = False
    if schema.get("nullable") is True and "type" in schema:
        changed["type"] = [schema["type"], "null"]
    return changed


@cache
def _definition(path: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return {each["name"]: each for each in definition["spec"]["versions"] if each["served"]}


@cache
def validator(path: Path, api_version: str) -> Draft202012Validator:
    return Draft202012Validator(strict(_definition(path)[api_version]["schema"]["openAPIV3Schema"]))


def complaints(shared: Path, version: str, manifest: dict[str, Any]) -> list[str]:
    """What the definition of that KServe release says against an object of ours."""
    group, api_version = manifest["apiVersion"].split("/")
    path = shared / "kserve-crds" / version / f"{group}_{PLURALS[manifest['kind']]}.yaml"
    if api_version not in _definition(path):
        return [f"{manifest['apiVersion']} {manifest['kind']} is not served"]
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in validator(path, api_version).iter_errors(manifest)
    ]
