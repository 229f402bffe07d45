"""Events that differ in nothing but their text and counters, told by their shape.

Nearly all events of a stream repeat one JSON text around a new piece of content. Once one
of them has been parsed, its bytes serve as a pattern for the next ones: what matches it to
the last byte has the same meaning and needs no parser. Anything else is parsed.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import orjson

from runners.load.answer import Answer

_VARIABLE = re.compile(
    rb'("(?:content|text)":"[^"\\\x00-\x1f]+"'
    rb'|"id":"[^"\\]*"|"created":\d+|"total_tokens":\d+|"completion_tokens":\d+)'
)
_TEXT = rb'(?!")(?P<text>[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*)'


def shape_of(data: bytes) -> "re.Pattern[bytes] | None":
    """The pattern of events like `data`, the bytes of one that brings text and nothing else.

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
        return key + b':"' + _TEXT + b'"'
    if key == b'"completion_tokens"':
        return key + rb":(?P<tokens>\d+)"
    return key + (rb':"[^"\\]*"' if key == b'"id"' else rb":\d+")


@lru_cache(maxsize=64)
def _compiled(pattern: bytes) -> "re.Pattern[bytes]":
    """One per server and kind of event: identities and counters are wildcards in it."""
    return re.compile(pattern)


def take_run(
    shape: "re.Pattern[bytes]",
    data: bytes,
    begin: int,
    answer: Answer,
    arrivals: Callable[[list[int]], Iterable[int]],
    keep_text: bool,
) -> int:
    """Take successive events of one shape from `begin` on; where the first other one begins.

    arrivals: when the bytes before each of several places had arrived.
    """
    match, at = shape.match, begin
    ends: list[int] = []
    found: list[tuple[bytes, ...]] = []
    while (event := match(data, at)) is not None:
        at = event.end()
        ends.append(at)
        found.append(event.groups())
    texts = [groups[0] for groups in found]
    joined = b"".join(texts)
    if joined.isascii() and b"\\" not in joined and not keep_text:
        sizes = [len(text) for text in texts]
    else:
        strings = _strings(texts)
        sizes = [len(text.encode()) for text in strings]
        if keep_text:
            answer.texts += strings
    if not sizes:
        return begin
    ends, found = ends[: len(sizes)], found[: len(sizes)]
    totals = [int(groups[1]) for groups in found] if len(found[0]) > 1 else None
    answer.add_run(arrivals(ends), sizes, totals)
    return ends[-1]


def _strings(texts: list[bytes]) -> list[str]:
    """What is between the quotes of JSON strings, up to the first that is none."""
    read: list[str] = []
    for text in texts:
        try:
            read.append(orjson.loads(b'"%b"' % text) if b"\\" in text else text.decode())
        except ValueError:
            break  # the parser shall say what is wrong with it
    return read
