"""The APIs that load can be driven through, by the name in `workload.api`.

A further dialect is a further file with one constant, and a line here.
"""

from collections.abc import Mapping

from runners.load.dialects.dialect import Dialect, Question
from runners.load.dialects.oip import OIP
from runners.load.dialects.openai import CHAT, COMPLETIONS
from runners.load.dialects.tgi import TGI
from runners.load.dialects.triton import TRITON

DIALECTS: Mapping[str, Dialect] = {
    "chat": CHAT,
    "completions": COMPLETIONS,
    "tgi": TGI,
    "triton": TRITON,
    "oip": OIP,
}

__all__ = ["DIALECTS", "Dialect", "Question"]
