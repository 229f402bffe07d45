"""The shape of the model that a profile names: from its config.json, or the table of models."""

import os
from functools import lru_cache
from pathlib import Path

from runners.checks.models import ModelFacts, known_model, read_model_config
from runners.errors import UsageError


def model_facts(uri: str, folder: Path) -> ModelFacts | None:
    """Layers, heads and the rest; None where nothing here can tell.

    A directory's config.json is read (relative to `folder`), then what the Hugging Face
    cache holds of a hf:// model, then the table of known models.
    """
    return _facts(uri, str(folder), os.environ.get("HF_HUB_CACHE"), os.environ.get("HF_HOME"))


@lru_cache(maxsize=512)
def _facts(uri: str, folder: str, hub: str | None, home: str | None) -> ModelFacts | None:
    scheme, separator, rest = uri.partition("://")
    if not separator:
        directory = _directory(folder, uri)
        if directory is not None:
            return _read(directory)
        scheme, rest = "hf", uri
    if scheme != "hf":
        return None
    repository = rest.partition(":")[0].strip("/")
    cached = _cached(repository, hub, home)
    return _read(cached) if cached else known_model(repository)


def _directory(folder: str, written: str) -> Path | None:
    """The directory with a config.json that is written there; None where there is none."""
    try:
        directory = Path(folder, written).expanduser()
        return directory if (directory / "config.json").is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown user's home
        return None


def _read(directory: Path) -> ModelFacts | None:
    """A config.json that is broken tells nothing; the engine will say so in its own words."""
    try:
        return read_model_config(directory)
    except UsageError:
        return None


def _cached(repository: str, hub: str | None, home: str | None) -> Path | None:
    """The newest snapshot in the Hugging Face cache that has a config.json."""
    cache = Path(hub) if hub else Path(home or "~/.cache/huggingface").expanduser() / "hub"
    snapshots = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    try:
        found = sorted(snapshots.glob("*/config.json"), key=lambda file: file.stat().st_mtime)
    except OSError:  # no name for a file
        return None
    return found[-1].parent if found else None
