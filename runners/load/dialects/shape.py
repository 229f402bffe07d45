"""Events that differ in nothing but their text and counters, told by their shape.

Nearly all events of a stream repeat one JSON text around a new piece of content. Once one
of them has been parsed, its text serves as a pattern for the next ones: what matches it to
the last byte has the same meaning and needs no parser. Anything else is parsed.
"""

import re
from functools import lru_cache

from runners.load.answer import Answer, Chunk

_VARIABLE = re.compile(
    rb'("(?:content|text)":"[^"\\\x00-\x1f]+"'
    rb'|"id":"[^"\\]*"|"created":\d+|"total_tokens":\d+|"completion_tokens":\d+)'
)


def shape_of(data: bytes) -> "re.Pattern[bytes] | None":
    """The pattern of events like `data`, an event that brings plain text and nothing else.

    Groups: text, and tokens where the event counts them. None where it has no single text.
    """
    parts = _VARIABLE.split(data)
    texts = [part for part in parts[1::2] if part.startswith((b'"content"', b'"text"'))]
    counts = [part for part in parts[1::2] if part.startswith(b'"completion_tokens"')]
    if len(texts) != 1 or len(counts) > 1:
        return None
    pattern = [re.escape(parts[0])]
    for variable, fixed in zip(parts[1::2], parts[2::2], strict=True):
        pattern += (_pattern(variable), re.escape(fixed))
    return _compiled(b"".join(pattern))


def _pattern(variable: bytes) -> bytes:
    key, _, _ = variable.partition(b":")
    if key in (b'"content"', b'"text"'):
        return key + rb':"(?P<text>[^"\\\x00-\x1f]+)"'
    if key == b'"completion_tokens"':
        return key + rb":(?P<tokens>\d+)"
    return key + (rb':"[^"\\]*"' if key == b'"id"' else rb":\d+")


@lru_cache(maxsize=64)
def _compiled(pattern: bytes) -> "re.Pattern[bytes]":
    """One per server and kind of event: identities and counters are wildcards in it."""
    return re.compile(pattern)


def take_text(answer: Answer, stamp: int, found: "re.Match[bytes]", keep_text: bool) -> None:
    """The chunk of an event that matched a shape."""
    text = found["text"]
    chunk = Chunk(stamp, len(text), "content")
    answer.chunks.append(chunk)
    if keep_text:
        answer.texts.append(text.decode("utf-8", "replace"))
    if "tokens" in found.re.groupindex:
        answer.count(int(found["tokens"]), chunk)
