"""Triton's generate extension, as its TensorRT-LLM backend answers: deltas, counts if asked."""

from typing import Any

from runners.simulator import wire
from runners.simulator.voice import Said, Topic
from runners.simulator.words import words_for


class TritonVoice:
    """See Voice."""

    def __init__(self, topic: Topic) -> None:
        self._asked = topic.asked
        self._model = topic.model
        self._usage = topic.usage if topic.asked.include_usage else None

    def opening(self) -> bytes:
        return b""

    def tokens(self, field: str, start: int, count: int, last: bool) -> Said:
        counted = count
        if last and self._usage is not None:
            counted = self._usage.at(start + count)["completion_tokens"] - start
        text = words_for(self._asked.prompt, start, count)
        return Said(wire.event(self._response(text, counted)), (count,))

    def _response(self, text: str, tokens: int) -> dict[str, Any]:
        response: dict[str, Any] = {"model_name": self._model, "model_version": "1"}
        if self._usage is not None:
            response["num_input_tokens"] = self._usage.prompt_tokens
            response["num_output_tokens"] = tokens
        return response | {"sequence_end": False, "sequence_id": 0, "text_output": text}

    def nothing(self) -> bytes:
        return wire.event(self._response("", 0))

    def closing(self, tokens: int) -> list[bytes]:
        return [self.end_mark()]

    def whole(self, tokens: int, reasoning: tuple[str, int] | None) -> dict[str, Any]:
        counted = tokens if self._usage is None else self._usage.at(tokens)["completion_tokens"]
        return self._response(words_for(self._asked.prompt, 0, tokens), counted)

    def end_mark(self) -> bytes:
        return wire.LAST_CHUNK

    def failure(self, status: int, kind: str, message: str) -> dict[str, Any]:
        return {"error": message}
