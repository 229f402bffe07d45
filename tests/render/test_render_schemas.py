"""Rendered objects against KServe's own definitions, every version that is at hand."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from runners.errors import UsageError
from runners.profiles.load import list_profiles, load_profile
from runners.profiles.model import Profile
from runners.render import render

MakeProfile = Callable[..., Profile]
VERSIONS = ("0.15.2", "0.16.0", "0.17.1", "0.18.1", "0.19.0", "0.20.0")
PLURALS = {"InferenceService": "inferenceservices", "ServingRuntime": "servingruntimes"}


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
def validator(path: Path, api_version: str) -> Draft202012Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    versions = {each["name"]: each["schema"] for each in definition["spec"]["versions"]}
    return Draft202012Validator(strict(versions[api_version]["openAPIV3Schema"]))


def complaints(shared: Path, version: str, manifest: dict[str, Any]) -> list[str]:
    group, api_version = manifest["apiVersion"].split("/")
    path = shared / "kserve-crds" / version / f"{group}_{PLURALS[manifest['kind']]}.yaml"
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in validator(path, api_version).iter_errors(manifest)
    ]


def shipped() -> list[Profile]:
    """Each shipped profile for KServe that this version renders."""
    profiles = [load_profile(each.path).profile for each in list_profiles()]
    return [profile for profile in profiles if profile.target == "kserve" and renders(profile)]


def renders(profile: Profile) -> bool:
    try:
        return bool(render(profile))
    except UsageError:
        return False


@pytest.mark.parametrize("version", VERSIONS)
def test_rendered_objects_are_valid(
    version: str, shared_dir: Path, make_profile: MakeProfile
) -> None:
    everything = make_profile(
        name="everything",
        engine={"args": {"max_model_len": 4096}, "env": {"A": "1"}},
        resources={"gpu": {"type": "H100", "mig": "1g.10gb"}},
        serving={"namespace": "bench"},
    )
    own = shipped()
    assert own, "no shipped profile can be rendered"
    for profile in [*own, everything]:
        for name, manifest in render(profile, run_id="20260101T000000Z-x-0a1b2c").items():
            assert complaints(shared_dir, version, manifest) == [], (profile.name, name)


def test_the_comparison_notices_a_wrong_manifest(
    shared_dir: Path, make_profile: MakeProfile
) -> None:
    manifest = render(make_profile())["inferenceservice.yaml"]
    manifest["spec"]["predictor"]["minReplica"] = 1
    manifest["spec"]["predictor"]["model"]["resources"]["limits"]["memory"] = "64GB"
    quantity, unknown = sorted(complaints(shared_dir, VERSIONS[-1], manifest))
    assert "minReplica" in unknown
    assert "64GB" in quantity
