"""Mixed lengths: which request is how long."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runners.profiles.workload_section import Length

_STREAM = 5  # of the seed; arrivals, prompts and think times use others
_BLOCK = 20


def mixed(lengths: Sequence[Length], count: int, seed: int) -> npt.NDArray[np.int64]:
    """For each of `count` requests its place in `lengths`.

    In blocks of twenty: within each the proportions are those asked for, as nearly as
    whole requests allow (what one block has too little, the next has more), in random
    order. A longer plan begins like a shorter one.
    """
    shares = np.array([each.share for each in lengths])
    shares /= shares.sum()
    rng = np.random.default_rng([seed, _STREAM])
    blocks = []
    given = np.zeros(len(lengths), dtype=np.int64)
    for number in range(1, -(-count // _BLOCK) + 1):
        upto = _whole(shares * number * _BLOCK, number * _BLOCK)
        more = np.maximum(upto - given, 0)
        blocks.append(rng.permutation(np.repeat(np.arange(len(lengths)), more)))
        given += more
    return np.concatenate(blocks)[:count] if blocks else given[:0]


def _whole(parts: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """Whole numbers that add up to `total`, by largest remainders."""
    whole = np.floor(parts).astype(np.int64)
    missing = total - int(whole.sum())
    for at in np.argsort(whole - parts, kind="stable")[:missing]:
        whole[at] += 1
    return whole
