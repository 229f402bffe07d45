"""KServe's Open Inference Protocol, generate extension (generate_rest.yaml, merged form).

`details` are asked for: without them there is neither a finish reason nor any count. With
them each event carries one token, special ones marked; servers without details leave the
tokens unknown. The same paths as Triton's, another form of the request.
"""

from runners.errors import UsageError
from runners.load.answer import Answer
from runners.load.dialects.dialect import Dialect, Events, Json, Question, TokenTally, add_content
from runners.load.dialects.triton import model_path


def _body(question: Question) -> Json:
    if question.ignore_eos:
        raise UsageError(
            "ignore_eos: the Open Inference Protocol has no such parameter; set it to "
            "false, and put what your server offers into workload.extra_body.parameters"
        )
    parameters = {
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        "details": True,
    }
    return {"text_input": question.prompt, "parameters": parameters}


def _read_events(events: Events, answer: Answer, keep_text: bool) -> None:
    tally = TokenTally(answer)
    for stamp, event in events:
        text = event.get("text_output")
        if not isinstance(text, str):
            return answer.fail("malformed", f"a response without text_output: {event}")
        details = event.get("details") or {}
        # The specification calls it token, KServe's own server logprobs.
        token = details.get("token") or details.get("logprobs")
        special = isinstance(token, dict) and token.get("special")
        chunk = None if special else add_content(answer, stamp, text, keep_text)
        if isinstance(token, dict):
            tally.add(1, chunk)
        answer.finish_reason = details.get("finish_reason") or answer.finish_reason
    answer.done = True
    return None


def _read_whole(body: Json, stamp: int, answer: Answer, keep_text: bool) -> None:
    if not isinstance(body.get("text_output"), str):
        return answer.fail("malformed", "an answer without text_output")
    add_content(answer, stamp, body["text_output"], keep_text)
    details = body.get("details") or {}
    if isinstance(details.get("logprobs"), list):
        answer.output_tokens = len(details["logprobs"])
    answer.finish_reason = details.get("finish_reason")
    answer.done = True
    return None


OIP = Dialect(model_path, _body, _read_events, _read_whole)
