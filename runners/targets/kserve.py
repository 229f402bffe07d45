"""Target `kserve`: deployment to a cluster."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint

if TYPE_CHECKING:
    from runners.targets import TargetOptions


def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: "TargetOptions"
) -> AbstractContextManager[Endpoint]:
    """Raises TargetError: this version renders manifests but deploys nothing."""
    raise TargetError(
        f"{profile.name}: deploying to a cluster is not part of this version; measure a running "
        "server with --url URL, an engine here with --target local, or see the manifests with "
        "--dry-run"
    )
