"""TGI's own API: an event for every token, the counts in the last one."""

from typing import Any

from runners.simulator import wire
from runners.simulator.voice import Said, Topic
from runners.simulator.words import words_for

_FINISH = {"length": "length", "stop": "eos_token"}


class TgiVoice:
    """See Voice."""

    def __init__(self, topic: Topic) -> None:
        self._asked = topic.asked
        self._usage = topic.usage if topic.asked.include_usage else None

    def opening(self) -> bytes:
        return b""

    def tokens(self, field: str, start: int, count: int, last: bool) -> Said:
        data = b""
        for index in range(start, start + count):
            final = last and index == start + count - 1
            token = wire.token(words_for(self._asked.prompt, index, 1))
            data += self._event(index, token, final, self._asked.finish_reason)
        return Said(data, (1,) * count)

    def _event(self, index: int, token: dict[str, Any], final: bool, finish: str) -> bytes:
        event: dict[str, Any] = {"index": index + 1, "token": token}
        event["generated_text"] = event["details"] = None
        if final:
            tokens = 0 if token["special"] else index + 1
            event["generated_text"] = words_for(self._asked.prompt, 0, tokens)
            event["details"] = self._details(index + 1, finish, {})
        # TGI writes no space after the colon.
        return wire.event(event, b"data:")

    def _details(self, tokens: int, finish: str, more: dict[str, Any]) -> dict[str, Any] | None:
        if self._usage is None:
            return None
        return {
            "finish_reason": _FINISH[finish],
            "generated_tokens": self._usage.at(tokens)["completion_tokens"],
            "seed": None,
            **(more or {"input_length": self._usage.prompt_tokens}),
        }

    def nothing(self) -> bytes:
        return self._event(0, wire.token("</s>", special=True), True, "stop")

    def closing(self, tokens: int) -> list[bytes]:
        return [self.end_mark()]

    def whole(self, tokens: int, reasoning: tuple[str, int] | None) -> dict[str, Any]:
        prompt = self._asked.prompt
        each = [wire.token(words_for(prompt, index, 1)) for index in range(tokens)]
        finish = self._asked.finish_reason if tokens else "stop"
        return {
            "generated_text": words_for(prompt, 0, tokens),
            "details": self._details(tokens, finish, {"prefill": [], "tokens": each}),
        }

    def end_mark(self) -> bytes:
        return wire.LAST_CHUNK

    def failure(self, status: int, kind: str, message: str) -> dict[str, Any]:
        return {"error": message, "error_type": "generation" if status >= 500 else "validation"}
