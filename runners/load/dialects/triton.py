"""Triton's generate extension: /v2/models/<model>/generate_stream and /generate.

Serves models of the TensorRT-LLM and the vLLM backend: the top-level keys of the request
become tensors or parameters, whichever the model has. Both backends count tokens per
response when asked; from a model that does not, tokens stay unknown.

A stream has no end mark of its own: it ends with the response. Its texts are deltas, or
with `accumulate_tokens` of the TensorRT-LLM backend each is the whole text so far. They are
taken for the latter when every text begins with the whole of the one before and the last is
longer than the first; deltas that look so are as good as impossible beyond two tokens, and
a mistake would change the bytes of chunks, never an arrival.
"""

from itertools import pairwise
from urllib.parse import quote

from runners.load.answer import Answer
from runners.load.dialects.dialect import Dialect, Events, Json, Question, TokenTally, add_content


def model_path(model: str, stream: bool) -> str:
    """Of the generate extension, without a version: the server chooses it."""
    return f"/v2/models/{quote(model, safe='')}/generate{'_stream' if stream else ''}"


def _body(question: Question) -> Json:
    body: Json = {
        "text_input": question.prompt,
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "stream": question.stream,
        # Without it, non-streaming answers begin with the prompt.
        "exclude_input_in_output": True,
        "return_num_input_tokens": True,
        "return_num_output_tokens": True,
    }
    if question.ignore_eos:
        body["min_tokens"] = question.max_tokens
    return body


def _read_events(events: Events, answer: Answer, keep_text: bool) -> None:
    responses = []
    for stamp, event in events:
        if not isinstance(event.get("text_output"), str):
            return answer.fail("malformed", f"a response without text_output: {event}")
        responses.append((stamp, event))
    texts = [event["text_output"] for _, event in responses]
    if _cumulative(texts):
        texts = [texts[0]] + [text[len(before) :] for before, text in pairwise(texts)]
    tally = TokenTally(answer)
    for (stamp, event), text in zip(responses, texts, strict=True):
        chunk = add_content(answer, stamp, text, keep_text)
        _take_facts(event, answer)
        if event.get("num_output_tokens") is not None:
            tally.add(event["num_output_tokens"], chunk)
    answer.done = True
    return None


def _cumulative(texts: list[str]) -> bool:
    return (
        len(texts) > 1
        and len(texts[-1]) > len(texts[0]) > 0
        and all(text.startswith(before) for before, text in pairwise(texts))
    )


def _read_whole(body: Json, stamp: int, answer: Answer, keep_text: bool) -> None:
    if not isinstance(body.get("text_output"), str):
        return answer.fail("malformed", "an answer without text_output")
    add_content(answer, stamp, body["text_output"], keep_text)
    _take_facts(body, answer)
    answer.output_tokens = body.get("num_output_tokens")
    answer.done = True
    return None


def _take_facts(response: Json, answer: Answer) -> None:
    answer.prompt_tokens = response.get("num_input_tokens", answer.prompt_tokens)
    # The vLLM backend says "None" until it knows.
    if response.get("finish_reason") not in (None, "None"):
        answer.finish_reason = response["finish_reason"]


TRITON = Dialect(model_path, _body, _read_events, _read_whole)
