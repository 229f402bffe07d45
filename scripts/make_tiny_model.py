"""Make the small model pair (target and draft) that the CPU profiles run on."""

import _environment  # noqa: F401
