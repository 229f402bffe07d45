"""Fewer draft tokens in larger batches: draft_len_schedule and max_concurrency."""

from typing import Any

from runners.convert.outcome import Outcome, approximate, exact, nothing
from runners.convert.settings import Settings

_KEY = "num_speculative_tokens_per_batch_size"
_ENDLESS = 1_000_000  # more requests than any batch holds


def ranges(schedule: dict[int, int], *, bounds: str) -> list[list[int]]:
    """[first batch size, last, draft tokens], as vLLM reads them (inclusive, from 1 on).

    bounds: "upper", where a key is the largest batch that its length holds for and larger
    ones draft nothing (TensorRT-LLM's newest releases); "lower", where a key is the smallest
    (earlier ones, which required the key 1).
    """
    keys = sorted(schedule)
    if bounds == "upper":
        starts = [1, *(key + 1 for key in keys)]
        lengths = [*(schedule[key] for key in keys), 0]
    else:
        starts, lengths = keys, [schedule[key] for key in keys]
    ends = [*(start - 1 for start in starts[1:]), _ENDLESS]
    return [list(each) for each in zip(starts, ends, lengths, strict=True)]


def draft_len_schedule(value: Any, settings: Settings, longest: int | None) -> Outcome:
    """Batch size to draft length. longest: max_draft_len."""
    schedule = _read(value, settings)
    smallest = min(schedule)
    if longest is not None and schedule[smallest] != longest:
        raise settings.error(
            f"its smallest batch size ({smallest}) has {schedule[smallest]} draft tokens, but "
            f"max_draft_len is {longest}; make them equal"
        )
    if max(schedule.values()) > schedule[smallest]:
        raise settings.error("a larger batch has more draft tokens than the smallest one")
    if (missing := _missing(settings)) is not None:
        return missing
    if smallest == 1 and len(schedule) > 1:
        note = "read as earlier releases do, from each batch size on; the newest: up to each"
        return approximate(_said(ranges(schedule, bounds="lower")), note)
    return exact(_said(ranges(schedule, bounds="upper")), "above the largest: no drafts")


def max_concurrency(value: Any, settings: Settings, longest: int | None) -> Outcome:
    """No drafts in batches larger than this."""
    size = settings.whole(value, 1)
    if settings.target.legacy:
        return exact({"speculative_config": {"disable_by_batch_size": size}})
    if (missing := _missing(settings)) is not None:
        return missing
    if longest is None:
        return nothing("the number of draft tokens is not known")
    return exact(_said(ranges({size: longest}, bounds="upper")))


def _missing(settings: Settings) -> Outcome | None:
    """Releases that cannot vary the number of draft tokens."""
    target = settings.target
    if _KEY in target.release.speculative_keys:
        return None
    if "disable_by_batch_size" in target.release.speculative_keys and not target.legacy:
        note = f"vLLM {target.version} takes disable_by_batch_size, but its V1 engine ignores it"
        return nothing(note)
    return nothing(f"vLLM {target.version} always drafts; {_KEY} came with 0.24")


def _said(found: list[list[int]]) -> dict[str, Any]:
    return {"speculative_config": {_KEY: found}}


def _read(value: Any, settings: Settings) -> dict[int, int]:
    """Keys of a YAML mapping come as text."""
    if not isinstance(value, dict) or not value:
        raise settings.error("takes a mapping of batch sizes to numbers of draft tokens")
    found: dict[int, int] = {}
    for size, tokens in value.items():
        if not str(size).isdecimal() or int(size) < 1:
            raise settings.error(f"{size!r} is no batch size")
        found[int(size)] = settings.whole(tokens)
    return found
