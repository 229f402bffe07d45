"""OpenAI's chat and completions, as vLLM words them."""

from typing import Any

from runners.simulator import wire
from runners.simulator.voice import Said, Topic
from runners.simulator.words import words_for


class OpenAIVoice:
    """See Voice."""

    def __init__(self, topic: Topic) -> None:
        self._asked = topic.asked
        self._usage = topic.usage
        self._continuous = topic.usage if topic.asked.continuous_usage else None
        chat = topic.asked.api == "chat"
        self._shape = wire.Shape(chat, topic.id, topic.created_s, topic.model)
        self._templates: dict[str, wire.TokenEvent] = {}

    def opening(self) -> bytes:
        if not self._shape.chat:
            return b""
        role = self._shape.role()
        usage = self._continuous
        return wire.event(role if usage is None else {**role, "usage": usage.at(0)})

    def tokens(self, field: str, start: int, count: int, last: bool) -> Said:
        text = words_for(self._asked.prompt, start, count)
        done = start + count
        if not last:
            return Said(self._template(field).event(text, done), (count,))
        choice = self._shape.choice(field, text, self._asked.finish_reason)
        event = self._shape.envelope([choice])
        if self._continuous is not None:
            event["usage"] = self._continuous.at(done)
        return Said(wire.event(event), (count,))

    def _template(self, field: str) -> wire.TokenEvent:
        if field not in self._templates:
            self._templates[field] = wire.TokenEvent.of(self._shape, field, self._continuous)
        return self._templates[field]

    def nothing(self) -> bytes:
        return wire.event(self._shape.envelope([self._shape.choice("content", "", "stop")]))

    def closing(self, tokens: int) -> list[bytes]:
        if self._usage is None or not self._asked.include_usage:
            return [self.end_mark()]
        final = {**self._shape.envelope([]), "usage": self._usage.final(tokens)}
        return [wire.event(final), self.end_mark()]

    def whole(self, tokens: int, reasoning: tuple[str, int] | None) -> dict[str, Any]:
        prompt = self._asked.prompt
        message: dict[str, Any] = {"role": "assistant", "content": words_for(prompt, 0, tokens)}
        if reasoning is not None:
            field, share = reasoning[0], min(tokens, reasoning[1])
            message[field] = words_for(prompt, 0, share)
            message["content"] = words_for(prompt, share, tokens - share)
        body = self._shape.whole(message, self._asked.finish_reason if tokens else "stop")
        if self._usage is not None:
            body["usage"] = self._usage.final(tokens)
        return body

    def end_mark(self) -> bytes:
        return wire.chunked(wire.DONE) + wire.LAST_CHUNK

    def failure(self, status: int, kind: str, message: str) -> dict[str, Any]:
        return wire.error(status, kind, message)
