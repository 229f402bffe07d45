"""What an exchange amounts to once its bytes are understood."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

KINDS = ("content", "reasoning", "tool_call")
_CODE = {kind: code for code, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One arrival of content. tokens: None where unknown."""

    arrival_ns: int
    bytes: int
    kind: str
    tokens: float | None = None


def _column() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Answer:
    """Content arrivals and figures of one response; error as in Exchange.

    arrivals, sizes, milli, kinds: one entry per chunk: its arrival in ns, bytes of text,
    thousandths of tokens (negative until known or shared out), place in KINDS. texts: where
    they are kept; asides: which of them are no content.
    """

    arrivals: "array[int]" = field(default_factory=_column)
    sizes: "array[int]" = field(default_factory=_column)
    milli: "array[int]" = field(default_factory=_column)
    kinds: "array[int]" = field(default_factory=_column)
    texts: list[str] = field(default_factory=list)
    asides: list[int] = field(default_factory=list)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None
    done: bool = False
    counted_chunks: bool = False
    error: str | None = None
    error_detail: str | None = None
    _counted: int = 0

    @property
    def chunks(self) -> list[Chunk]:
        columns = zip(self.arrivals, self.sizes, self.kinds, self.milli, strict=True)
        return [
            Chunk(arrival, size, KINDS[kind], None if milli < 0 else milli / 1000)
            for arrival, size, kind, milli in columns
        ]

    def content(self) -> str:
        """What was said, without reasoning and tool calls."""
        asides = set(self.asides)
        return "".join(text for at, text in enumerate(self.texts) if at not in asides)

    def add(self, arrival_ns: int, size: int, kind: str) -> int:
        """A chunk with `size` bytes of text; its place."""
        self.arrivals.append(arrival_ns)
        self.sizes.append(size)
        self.milli.append(-1)
        self.kinds.append(_CODE[kind])
        return len(self.arrivals) - 1

    def add_run(
        self, arrivals: Iterable[int], sizes: Sequence[int], totals: Sequence[int] | None
    ) -> None:
        """Successive chunks of kind content; totals: as of `count`, None without counts."""
        self.arrivals.extend(arrivals)
        self.sizes.extend(sizes)
        self.kinds.frombytes(bytes(8 * len(sizes)))
        if totals is None:
            self.milli.extend([-1] * len(sizes))
        else:
            each = np.diff(np.array([self._counted, *totals])) * 1000
            self.milli.frombytes(each.tobytes())
            self.output_tokens = self._counted = totals[-1]
            self.counted_chunks = True

    def count(self, total: int, chunk: int) -> None:
        """The server says with the chunk at this place that it has made `total` tokens so far."""
        self.milli[chunk] = (total - self._counted) * 1000
        self.output_tokens = self._counted = total
        self.counted_chunks = True

    def fail(self, error: str, detail: str) -> None:
        if self.error is None:
            self.error, self.error_detail = error, detail[:300]

    def share_tokens(self) -> None:
        """Let the chunks' tokens add up to the request's output tokens.

        Chunks without a count of their own share what is left by bytes; where every
        chunk has one, what was generated after the last text belongs to the last chunk.
        """
        if self.output_tokens is None or not self.arrivals:
            return
        if min(self.milli) >= 0:
            self.milli[-1] += max(self.output_tokens * 1000 - sum(self.milli), 0)
            return
        milli = np.array(self.milli)
        still_open = milli < 0
        left = max(self.output_tokens * 1000 - int(milli[~still_open].sum()), 0)
        upto = np.array(self.sizes)[still_open].cumsum()
        shares = np.rint(upto * (left / upto[-1]))
        shares[1:] -= shares[:-1].copy()
        milli[still_open] = shares
        self.milli = array("q", milli.tobytes())
