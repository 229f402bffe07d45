"""Profile → Kubernetes objects, from the templates in manifests/."""

from runners.render.kubernetes import render
from runners.render.templates import to_yaml

__all__ = ["render", "to_yaml"]
