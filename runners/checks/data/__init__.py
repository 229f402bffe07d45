"""Facts that change with each release of an engine or a GPU, as files beside this one."""

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


def read_yaml(name: str) -> Any:
    """The content of one of the files, read anew."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((FOLDER / name).read_bytes(), Loader=loader)
