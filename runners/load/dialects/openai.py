"""OpenAI's chat and completions, as vLLM, TGI and trtllm-serve speak them."""

from runners.load.answer import Answer
from runners.load.dialects.dialect import Dialect, Events, Json, Question, add_content

_DELTA_TEXTS = (
    ("content", "content"),
    ("reasoning_content", "reasoning"),
    ("reasoning", "reasoning"),
)


def _chat_body(question: Question) -> Json:
    messages = [{"role": "user", "content": question.prompt}]
    return {"model": question.model, "messages": messages, **_settings(question)}


def _completions_body(question: Question) -> Json:
    return {"model": question.model, "prompt": question.prompt, **_settings(question)}


def _settings(question: Question) -> Json:
    body: Json = {
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "stream": question.stream,
    }
    if question.ignore_eos:
        body["ignore_eos"] = True
    if question.stream:
        body["stream_options"] = {"include_usage": True}
        if question.continuous_usage:
            body["stream_options"]["continuous_usage_stats"] = True
    return body


def _read_events(events: Events, answer: Answer, keep_text: bool) -> None:
    for stamp, event in events:
        usage = event.get("usage")
        if usage:
            _take_usage(usage, answer)
        for choice in event.get("choices") or ():
            chunk = _take_choice(choice, choice.get("delta"), stamp, answer, keep_text)
            if usage and chunk is not None and answer.output_tokens is not None:
                answer.count(answer.output_tokens, chunk)


def _read_whole(body: Json, stamp: int, answer: Answer, keep_text: bool) -> None:
    if not body.get("choices"):
        return answer.fail("malformed", "an answer without any choices")
    if body.get("usage"):
        _take_usage(body["usage"], answer)
    for choice in body["choices"]:
        _take_choice(choice, choice.get("message"), stamp, answer, keep_text)
    answer.done = True
    return None


def _take_choice(
    choice: Json, said: Json | None, stamp: int, answer: Answer, keep_text: bool
) -> int | None:
    if choice.get("finish_reason"):
        answer.finish_reason = choice["finish_reason"]
    if said and len(said) == 1 and said.get("content"):
        # Nearly every event of a chat is this and nothing else.
        return add_content(answer, stamp, said["content"], keep_text)
    texts = [("content", choice.get("text"))]
    if said:
        texts += [(kind, said.get(key)) for key, kind in _DELTA_TEXTS]
        for call in said.get("tool_calls") or ():
            function = call.get("function") or {}
            texts.append(
                ("tool_call", (function.get("name") or "") + (function.get("arguments") or ""))
            )
    size, first_kind = 0, None
    for kind, text in texts:
        if text:
            size += len(text.encode())
            first_kind = first_kind or kind
            if keep_text:
                if kind != "content":
                    answer.asides.append(len(answer.texts))
                answer.texts.append(text)
    if first_kind is None:
        return None
    return answer.add(stamp, size, first_kind)


def _take_usage(usage: Json, answer: Answer) -> None:
    answer.prompt_tokens = usage.get("prompt_tokens", answer.prompt_tokens)
    answer.output_tokens = usage.get("completion_tokens", answer.output_tokens)
    details = usage.get("prompt_tokens_details")
    if details and details.get("cached_tokens") is not None:
        answer.cached_tokens = details["cached_tokens"]


def _is_plain(event: Json) -> bool:
    """One choice with a piece of text, no end in sight, and at most usage besides."""
    choices = event.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or choices[0].get("finish_reason"):
        return False
    said = choices[0].get("delta", choices[0])
    if "delta" in choices[0] and set(said) != {"content"}:
        return False
    return bool(said.get("content") or said.get("text"))


CHAT = Dialect(
    lambda model, stream: "/v1/chat/completions", _chat_body, _read_events, _read_whole, _is_plain
)
COMPLETIONS = Dialect(
    lambda model, stream: "/v1/completions",
    _completions_body,
    _read_events,
    _read_whole,
    _is_plain,
)
