"""Where the files live that a user may read and edit: profiles, manifests, prices."""

from pathlib import Path
from typing import Literal

from runners.errors import UsageError

PACKAGE = Path(__file__).resolve().parent


def folder(name: Literal["profiles", "manifests", "costs"]) -> Path:
    """The folder of shipped files: `runners/_data/<name>` of an installed wheel, else the
    checkout's own `<name>/` beside the package.

    Raises UsageError where neither exists.
    """
    # The wheel's copy first: site-packages may hold an unrelated folder of that name.
    for place in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise UsageError(f"the folder {name}/ is missing from this installation; install it again")
