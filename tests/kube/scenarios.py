"""Every scenario by its name: those that become ready, those that fail, those without an end."""

from tests.kube.failures import ENDLESS, FAILED
from tests.kube.stories import READY

BY_NAME = {scenario.name: scenario for scenario in (*READY, *FAILED, *ENDLESS)}
__all__ = ["BY_NAME", "ENDLESS", "FAILED", "READY"]
