"""What an exchange amounts to once its bytes are understood."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Chunk:
    """One arrival of content. tokens: None until known or shared out."""

    arrival_ns: int
    bytes: int
    kind: str
    tokens: float | None = None


@dataclass(slots=True)
class Answer:
    """Content arrivals and figures of one response; error as in Exchange."""

    chunks: list[Chunk] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None
    done: bool = False
    counted_chunks: bool = False
    error: str | None = None
    error_detail: str | None = None
    _counted: int = 0

    def count(self, total: int, chunk: Chunk) -> None:
        """The server says with `chunk` that it has made `total` tokens so far."""
        chunk.tokens = float(total - self._counted)
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
        if self.output_tokens is None or not self.chunks:
            return
        open_chunks = [chunk for chunk in self.chunks if chunk.tokens is None]
        counted = sum(chunk.tokens for chunk in self.chunks if chunk.tokens is not None)
        left = max(self.output_tokens - counted, 0.0)
        if not open_chunks:
            self.chunks[-1].tokens = (self.chunks[-1].tokens or 0.0) + left
            return
        size = sum(chunk.bytes for chunk in open_chunks)
        for chunk in open_chunks:
            chunk.tokens = left * chunk.bytes / size
