"""What a coordinator may order of a load worker on another machine: a spec, and no paths."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from runners.load.remote_wire import TOKEN_ENV, Refused
from runners.load.worker import Spec

# Fields of a spec that name files; here they always lie in the worker's own folder.
_PLACES = ("bodies", "schedule", "output", "ca_cert")


@dataclass(frozen=True)
class Folder:
    """The worker's temporary folder and the files that it may hold."""

    path: Path

    def received(self) -> Mapping[str, Path]:
        """Files that the coordinator sends, by the only names it can say."""
        names = {"bodies": "bodies.jsonl", "schedule": "schedule.npz", "ca_cert": "ca.pem"}
        return {name: self.path / file for name, file in names.items()}

    def returned(self, index: int) -> Mapping[str, Path]:
        """Files that the coordinator gets back."""
        return {**records(self.path, index), "log": self.log}

    @property
    def orders(self) -> Path:
        return self.path / "spec.json"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"


def records(folder: Path, index: int) -> dict[str, Path]:
    """Where the worker process `index` leaves its records."""
    return {
        "requests": folder / f"requests-{index}.jsonl",
        "chunks": folder / f"chunks-{index}.i64",
    }


def to_wire(spec: Spec) -> dict[str, Any]:
    """A spec without its places."""
    return {name: value for name, value in asdict(spec).items() if name not in _PLACES}


def from_wire(said: object, folder: Folder) -> Spec:
    """The spec that was said, at places of our own. Raises Refused for anything else."""
    from pydantic import TypeAdapter, ValidationError

    expected = {field.name for field in fields(Spec)} - set(_PLACES)
    if not isinstance(said, dict) or set(said) != expected:
        raise Refused("its spec has other fields than ours")
    received = folder.received()
    places = {
        "bodies": str(received["bodies"]),
        "schedule": str(received["schedule"]),
        "output": str(folder.path),
        "ca_cert": str(received["ca_cert"]) if received["ca_cert"].exists() else None,
    }
    try:
        spec = TypeAdapter(Spec).validate_python(said | places, strict=False)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise Refused(f"its spec is wrong at {fault['loc']}: {fault['msg']}") from None
    if not 0 <= spec.index < spec.count:
        raise Refused(f"its spec is for worker {spec.index} of {spec.count}")
    if not spec.base_url.startswith(("http://", "https://")):
        raise Refused("its spec has no http(s) URL")
    for name in ("bodies", "schedule"):
        if not received[name].exists():
            raise Refused(f"it sent no {name}")
    _refuse_missing_key(spec.api_key_env)
    return spec


def _refuse_missing_key(name: str | None) -> None:
    """The key is read from this machine's environment and never sent over the wire."""
    if name is None:
        return
    if name == TOKEN_ENV:
        raise Refused(f"{TOKEN_ENV} is not an API key")
    if not os.environ.get(name):
        raise Refused(f"the environment variable {name} with the API key is not set there")
