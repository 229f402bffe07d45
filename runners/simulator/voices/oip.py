"""The Open Inference Protocol's generate extension: an event for every token."""

from typing import Any

from runners.simulator import wire
from runners.simulator.voice import Said, Topic
from runners.simulator.words import words_for

_FINISH = {"length": "length", "stop": "eos_token"}


class OipVoice:
    """See Voice."""

    def __init__(self, topic: Topic) -> None:
        self._asked = topic.asked
        self._model = topic.model
        self._details = topic.asked.include_usage and topic.usage is not None

    def opening(self) -> bytes:
        return b""

    def tokens(self, field: str, start: int, count: int, last: bool) -> Said:
        data = b""
        for index in range(start, start + count):
            final = last and index == start + count - 1
            word = words_for(self._asked.prompt, index, 1)
            finish = self._asked.finish_reason if final else None
            data += self._event(word, wire.token(word), finish)
        return Said(data, (1,) * count)

    def _event(self, text: str, token: dict[str, Any], finish: str | None) -> bytes:
        reason = None if finish is None else _FINISH[finish]
        details = {"finish_reason": reason, "token": token} if self._details else None
        return wire.event(self._response(text, details))

    def _response(self, text: str, details: dict[str, Any] | None) -> dict[str, Any]:
        told = {"text_output": text, "model_name": self._model, "model_version": "1"}
        return told | {"details": details}

    def nothing(self) -> bytes:
        return self._event("", wire.token("</s>", special=True), "stop")

    def closing(self, tokens: int) -> list[bytes]:
        return [self.end_mark()]

    def whole(self, tokens: int, reasoning: tuple[str, int] | None) -> dict[str, Any]:
        prompt = self._asked.prompt
        finish = _FINISH[self._asked.finish_reason if tokens else "stop"]
        each = [wire.token(words_for(prompt, index, 1)) for index in range(tokens)]
        details = {"finish_reason": finish, "logprobs": each} if self._details else None
        return self._response(words_for(prompt, 0, tokens), details)

    def end_mark(self) -> bytes:
        return wire.LAST_CHUNK

    def failure(self, status: int, kind: str, message: str) -> dict[str, Any]:
        return {"error": message}
