"""Requests of the APIs that generate from a bare text: TGI, Triton, Open Inference Protocol."""

import re
from typing import Any
from urllib.parse import unquote

from runners.simulator.asked import Asked, RequestError, count_tokens

_TGI = re.compile(r"/generate(_stream)?")
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/generate(_stream)?")
# What an answer has where nobody says how long it may be.
_TGI_DEFAULT_TOKENS = 100
_OIP_DEFAULT_TOKENS = 20


def is_generate(path: str) -> bool:
    """Whether a POST to `path` is for one of these APIs."""
    return bool(_TGI.fullmatch(path) or _MODEL.fullmatch(path))


def read_generate(path: str, body: dict[str, Any], model: str) -> Asked:
    """Check a request as the API of `path` would; raises RequestError (400, 404, 422).

    Triton and the Open Inference Protocol have the same paths: a request with `max_tokens`
    beside `text_input` is Triton's.
    """
    found = _MODEL.fullmatch(path)
    if found is None:
        return _tgi(body, stream=path.endswith("_stream"))
    if unquote(found[1]) != model:
        raise RequestError(404, "NotFoundError", f"unknown model: '{unquote(found[1])}'")
    stream = found[2] is not None
    return _triton(body, stream) if "max_tokens" in body else _oip(body, stream)


def _tgi(body: dict[str, Any], stream: bool) -> Asked:
    parameters = _parameters(body)
    for key in ("temperature", "top_p"):
        value = parameters.get(key)
        if value is not None and (value <= 0 or (key == "top_p" and value >= 1)):
            raise RequestError(422, "validation", f"`{key}` is out of its range: {value}")
    tokens = parameters.get("max_new_tokens", _TGI_DEFAULT_TOKENS)
    details = bool(parameters.get("details"))
    return _asked("tgi", _text(body, "inputs"), tokens, stream, details)


def _triton(body: dict[str, Any], stream: bool) -> Asked:
    if stream != bool(body.get("stream")):
        raise RequestError(400, "BadRequestError", "`stream` and the path do not agree")
    counts = bool(body.get("return_num_output_tokens"))
    return _asked("triton", _text(body, "text_input"), body["max_tokens"], stream, counts)


def _oip(body: dict[str, Any], stream: bool) -> Asked:
    parameters = _parameters(body)
    tokens = parameters.get("max_tokens", _OIP_DEFAULT_TOKENS)
    details = bool(parameters.get("details"))
    return _asked("oip", _text(body, "text_input"), tokens, stream, details)


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(422, "validation", "parameters: an object")
    return parameters


def _text(body: dict[str, Any], key: str) -> str:
    text = body.get(key)
    if not isinstance(text, str) or not text:
        raise RequestError(422, "validation", f"{key}: a text")
    return text


def _asked(api: str, prompt: str, tokens: object, stream: bool, counts: bool) -> Asked:
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise RequestError(422, "validation", f"a whole number of new tokens from 1, not {tokens}")
    return Asked(
        api=api,
        prompt=prompt,
        prompt_tokens=count_tokens(prompt),
        max_tokens=tokens,
        finish_reason="length",
        stream=stream,
        include_usage=counts,
        continuous_usage=False,
    )
