"""Server-sent events out of stamped bytes (WHATWG HTML, section 9.2, as far as APIs use it)."""

import re
from collections.abc import Iterable, Iterator

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")


def events(pieces: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield (stamp, data) per event; the stamp is that of the piece that completed it.

    Comments and fields other than data are dropped, data lines are joined by a newline.
    A last event without its blank line is yielded too: servers forget it.
    """
    rest, stamp = b"", 0
    for stamp, piece in pieces:
        if not rest and piece.endswith(b"\n\n") and b"\r" not in piece:
            if piece.find(b"\n") == len(piece) - 2 and piece.startswith(b"data: "):
                yield stamp, piece[6:-2]  # one event to a read: told apart without taking it apart
                continue
            for block in piece[:-2].split(b"\n\n"):  # the usual case, several times faster
                data = _data(block)
                if data is not None:
                    yield stamp, data
            continue
        rest = rest + piece if rest else piece
        if rest.endswith(b"\r") and not rest.endswith(b"\r\r"):
            continue  # may be half of \r\n
        *whole, rest = _BOUNDARY.split(rest)
        for block in whole:
            data = _data(block)
            if data is not None:
                yield stamp, data
    data = _data(rest)
    if data is not None:
        yield stamp, data


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return block[6:]
    lines = []
    for line in _LINE.split(block):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
