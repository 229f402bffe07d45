"""What happened during a run and when: answers and tokens, as events."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runners.measure.records import Bools, Floats, Ints, Recorded


@dataclass(frozen=True)
class Events:
    """Things that happened: when (ns) and how much each counts. parts: events per thing."""

    times: Floats | Ints
    amounts: Floats | npt.NDArray[np.float32]
    parts: int = 1


_PARTS = 8


def served(run: Recorded, which: Bools) -> Events:
    """Requests, each spread evenly over its time from sent to end, in eighths.

    Closed loops answer in waves. Counting ends would make a window's figure depend on
    whether its edges lie before or after a wave, by as much as a wave.
    """
    sent, end = run.requests.sent[which], run.requests.end[which]
    shares = (np.arange(_PARTS) + 0.5) / _PARTS
    times = sent[:, None] + (end - sent)[:, None] * shares
    return Events(times.ravel(), np.full(times.size, 1.0 / _PARTS), _PARTS)


def output_tokens(run: Recorded) -> Events | str:
    requests = run.requests
    if not run.profile.workload.stream:
        return _known(requests.last[requests.ok], requests.output_tokens[requests.ok], "answers")
    if run.chunks is None:
        return "chunks.parquet was not kept, so it is not known when tokens arrived"
    chunks = run.chunks
    tokens = chunks.tokens
    unknown = np.isnan(tokens)
    if unknown.any():
        ok = np.zeros(int(max(chunks.request_id.max(), requests.request_id.max())) + 1, np.bool_)
        ok[requests.request_id[requests.ok]] = True
        # A broken stream never told its count: what it is not known to have brought is left out.
        kept = ~unknown | ok[chunks.request_id]
        return _known(chunks.arrival[kept], tokens[kept], "chunks")
    return Events(chunks.arrival, tokens)


def _known(
    times: Floats | Ints, amounts: Floats | npt.NDArray[np.float32], what: str
) -> Events | str:
    unknown = int(np.isnan(amounts).sum())
    if unknown:
        return f"{unknown} of {len(amounts)} {what} have no token count"
    return Events(times, amounts)


def total_tokens(run: Recorded) -> Events | str:
    output = output_tokens(run)
    if isinstance(output, str):
        return output
    requests = run.requests
    arrived = ~np.isnan(requests.arrived) & (requests.ok | ~np.isnan(requests.prompt_tokens))
    prompts = _known(requests.arrived[arrived], requests.prompt_tokens[arrived], "prompts")
    if isinstance(prompts, str):
        return prompts
    return Events(
        np.concatenate([output.times, prompts.times]),
        np.concatenate([output.amounts, prompts.amounts]),
    )
