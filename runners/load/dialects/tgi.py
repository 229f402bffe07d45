"""TGI's own API: /generate_stream and /generate.

Each event of a stream carries one token, special ones included; the last one carries
`generated_text` and, because we ask for them, the details with the token counts.
"""

from runners.errors import UsageError
from runners.load.answer import Answer
from runners.load.dialects.dialect import Dialect, Events, Json, Question, TokenTally, add_content


def _path(model: str, stream: bool) -> str:
    return "/generate_stream" if stream else "/generate"


def _body(question: Question) -> Json:
    if question.ignore_eos:
        raise UsageError(
            "ignore_eos: TGI's API cannot do this (its router always heeds the end "
            "token); set it to false, and expect answers of different lengths"
        )
    # TGI rejects a temperature of 0: greedy decoding is what it does without one.
    sampling = {"temperature": question.temperature} if question.temperature > 0 else {}
    parameters = {
        "max_new_tokens": question.max_tokens,
        "do_sample": bool(sampling),
        **sampling,
        "details": True,
    }
    return {"inputs": question.prompt, "parameters": parameters}


def _read_events(events: Events, answer: Answer, keep_text: bool) -> None:
    tally = TokenTally(answer)
    for stamp, event in events:
        token = event.get("token")
        if token is not None:
            text = "" if token.get("special") else token.get("text") or ""
            tally.add(1, add_content(answer, stamp, text, keep_text))
        if event.get("generated_text") is not None:
            answer.done = True
        if event.get("details"):
            _take_details(event["details"], answer)


def _read_whole(body: Json, stamp: int, answer: Answer, keep_text: bool) -> None:
    if body.get("generated_text") is None:
        return answer.fail("malformed", "an answer without generated_text")
    add_content(answer, stamp, body["generated_text"], keep_text)
    if body.get("details"):
        _take_details(body["details"], answer)
    answer.done = True
    return None


def _take_details(details: Json, answer: Answer) -> None:
    answer.finish_reason = details.get("finish_reason", answer.finish_reason)
    answer.output_tokens = details.get("generated_tokens", answer.output_tokens)
    # Non-streaming details do not have it.
    answer.prompt_tokens = details.get("input_length", answer.prompt_tokens)


TGI = Dialect(_path, _body, _read_events, _read_whole)
