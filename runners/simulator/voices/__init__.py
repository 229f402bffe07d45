"""Voices by the API that was asked."""

from collections.abc import Callable, Mapping

from runners.simulator.voice import Topic, Voice
from runners.simulator.voices.oip import OipVoice
from runners.simulator.voices.openai import OpenAIVoice
from runners.simulator.voices.tgi import TgiVoice
from runners.simulator.voices.triton import TritonVoice

VOICES: Mapping[str, Callable[[Topic], Voice]] = {
    "chat": OpenAIVoice,
    "completions": OpenAIVoice,
    "tgi": TgiVoice,
    "triton": TritonVoice,
    "oip": OipVoice,
}
