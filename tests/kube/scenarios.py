"""Every scenario by its name: the ones that become ready and the ones that do not."""

from tests.kube.failures import FAILED
from tests.kube.stories import READY

BY_NAME = {scenario.name: scenario for scenario in (*READY, *FAILED)}
__all__ = ["BY_NAME", "FAILED", "READY"]
