"""What happened during a run and when: answers and tokens, as events."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from runners.measure.records import Bools, Floats, Ints, Recorded

Times = Floats | Ints
Amounts = Floats | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Events:
    """Things that happened, in blocks of (when in ns, how much each counts).

    parts: events per thing.
    """

    blocks: Callable[[], Iterable[tuple[Times, Amounts]]]
    parts: int = 1

    def sums(self, start: float, end: float, count: int) -> tuple[Floats, int]:
        """Amounts over `count` stretches (a, b] of equal length, and how many things that is."""
        edges = np.linspace(start, end, count + 1)
        sums, happened = np.zeros(count), 0
        for times, amounts in self.blocks():
            place = np.searchsorted(edges, times, side="left") - 1
            inside = (place >= 0) & (place < count)
            sums += np.bincount(place[inside], weights=amounts[inside], minlength=count)
            happened += int(np.count_nonzero(inside))
        return sums, happened // self.parts


_PARTS = 8


def served(run: Recorded, which: Bools, amounts: Floats | None = None) -> Events:
    """Requests, each spread evenly over its time from sent to end, in eighths.

    Closed loops answer in waves. Counting ends would make a window's figure depend on
    whether its edges lie before or after a wave, by as much as a wave. amounts: what each
    counts, 1 without.
    """
    sent, end = run.requests.sent[which], run.requests.end[which]
    parts = (np.ones(len(sent)) if amounts is None else amounts[which]) / _PARTS
    shares = (np.arange(_PARTS) + 0.5) / _PARTS
    return Events(lambda: ((sent + (end - sent) * share, parts) for share in shares), _PARTS)


def output_tokens(run: Recorded) -> Events | str:
    requests, chunks = run.requests, run.chunks
    if not run.profile.workload.stream:
        times, amounts = requests.last[requests.ok], requests.output_tokens[requests.ok]
        return _unknown(amounts, "answers") or Events(lambda: [(times, amounts)])
    if chunks is None:
        return "chunks.parquet was not kept, so it is not known when tokens arrived"
    ok = requests.request_id[requests.ok]
    if unknown := int(chunks.unknown[ok].sum()):
        return f"{unknown} of {int(chunks.chunks[ok].sum())} chunks have no token count"
    # A broken stream never told its count: what it is not known to have brought is left out.
    return Events(chunks.arrivals)


def _unknown(amounts: Floats, what: str) -> str:
    unknown = int(np.isnan(amounts).sum())
    return f"{unknown} of {len(amounts)} {what} have no token count" if unknown else ""


def total_tokens(run: Recorded) -> Events | str:
    """Output tokens by their arrival, prompt tokens as `served` spreads requests."""
    output = output_tokens(run)
    if isinstance(output, str):
        return output
    requests = run.requests
    arrived = ~np.isnan(requests.arrived) & (requests.ok | ~np.isnan(requests.prompt_tokens))
    if why := _unknown(requests.prompt_tokens[arrived], "prompts"):
        return why
    prompts = served(run, arrived, requests.prompt_tokens)
    return Events(lambda: chain(output.blocks(), prompts.blocks()))
