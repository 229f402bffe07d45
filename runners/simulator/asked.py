"""A completion request as the simulator understands it."""

from dataclasses import dataclass
from typing import Any

import orjson

CHARACTERS_PER_TOKEN = 4
MAX_MODEL_LEN = 131_072
# An answer whose length nobody limited: vLLM's default for completions, ours for chat.
DEFAULT_COMPLETION_TOKENS = 16
NATURAL_CHAT_TOKENS = 128

Prompt = str | tuple[int, ...]


class RequestError(Exception):
    """A request answered with an error status; `status` is HTTP's."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


@dataclass(frozen=True)
class Asked:
    """One valid request. api: as in runners.load.dialects. finish_reason: how its answer ends.

    include_usage: token counts were asked for, in whatever way the API has.
    """

    api: str
    prompt: Prompt
    prompt_tokens: int
    max_tokens: int
    finish_reason: str
    stream: bool
    include_usage: bool
    continuous_usage: bool


def count_tokens(prompt: Prompt) -> int:
    """Token ids count as they are; of text, four characters make a token; at least 1."""
    if isinstance(prompt, str):
        return max(1, -(-len(prompt) // CHARACTERS_PER_TOKEN))
    return max(1, len(prompt))


def read_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body; raises RequestError (400)."""
    try:
        value = orjson.loads(body)
    except ValueError as error:
        raise RequestError(400, "BadRequestError", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RequestError(400, "BadRequestError", "the body is not a JSON object")
    return value


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The text of `messages`, or `prompt` as text or token ids; raises RequestError (400)."""
    if "messages" in body:
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise RequestError(400, "BadRequestError", "messages: a list with at least one message")
        return "".join(_text(message) for message in messages)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
        return tuple(prompt)
    raise RequestError(400, "BadRequestError", "prompt: one text or one list of token ids")


def _text(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def check_model(body: dict[str, Any], model: str) -> None:
    """Raises RequestError (404) where the request names another model."""
    name = body.get("model")
    if name is not None and name != model:
        raise RequestError(404, "NotFoundError", f"The model `{name}` does not exist.")


def read_asked(body: dict[str, Any], model: str, chat: bool) -> Asked:
    """Check a completion request as an engine would; raises RequestError (400, 404)."""
    check_model(body, model)
    if ("messages" in body) != chat:
        need = "messages" if chat else "prompt"
        raise RequestError(400, "BadRequestError", f"this route needs {need}")
    if body.get("n") not in (None, 1):
        raise RequestError(400, "BadRequestError", "n: the simulator gives one choice")
    prompt = read_prompt(body)
    max_tokens, finish_reason = _length(body, chat)
    prompt_tokens = _checked_length(prompt, max_tokens)
    stream = bool(body.get("stream"))
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError(400, "BadRequestError", "stream_options: an object")
    if options and not stream:
        raise RequestError(
            400, "BadRequestError", "Stream options can only be defined when `stream=True`."
        )
    include_usage = bool(options.get("include_usage"))
    return Asked(
        api="chat" if chat else "completions",
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        finish_reason=finish_reason,
        stream=stream,
        include_usage=include_usage,
        continuous_usage=include_usage and bool(options.get("continuous_usage_stats")),
    )


def _length(body: dict[str, Any], chat: bool) -> tuple[int, str]:
    limit = body.get("max_completion_tokens") if chat else None
    if limit is None:
        limit = body.get("max_tokens")
    if limit is None:
        return (NATURAL_CHAT_TOKENS, "stop") if chat else (DEFAULT_COMPLETION_TOKENS, "length")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise RequestError(400, "BadRequestError", f"max_tokens must be at least 1, got {limit!r}.")
    return limit, "length"


def _checked_length(prompt: Prompt, max_tokens: int) -> int:
    """Tokens of the prompt; raises RequestError (400) where the model has no room."""
    prompt_tokens = count_tokens(prompt)
    if prompt_tokens + max_tokens > MAX_MODEL_LEN:
        raise RequestError(
            400,
            "BadRequestError",
            f"This model's maximum context length is {MAX_MODEL_LEN} tokens; the request "
            f"has {prompt_tokens} and asks for {max_tokens}.",
        )
    return prompt_tokens
