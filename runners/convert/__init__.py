"""TensorRT-LLM's settings (the YAML of `trtllm-serve --config`) as arguments of a vLLM version."""

from runners.convert.conversion import Conversion, convert
from runners.convert.outcome import Row
from runners.convert.settings import Settings, Target, read_settings

__all__ = ["Conversion", "Row", "Settings", "Target", "convert", "read_settings"]
