"""Target `kserve`: deployed to a cluster for the run, or there already."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint

if TYPE_CHECKING:
    from runners.targets import TargetOptions


@contextmanager
def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: "TargetOptions"
) -> Iterator[Endpoint]:
    """Deploy the profile and remove it afterwards; with serving.existing only find it.

    Writes manifests/, lifecycle.json, cluster.json and logs/. Raises UsageError for what
    cannot be rendered, TargetError without a cluster and where the model does not serve.
    """
    from runners.cluster.connect import connect
    from runners.cluster.deploy import deployed
    from runners.cluster.existing import found

    connection = connect(profile.serving.context, profile.serving.namespace)
    open_ = found if profile.serving.existing else deployed
    with closing(connection), open_(connection, profile, run, progress, options) as endpoint:
        yield endpoint
