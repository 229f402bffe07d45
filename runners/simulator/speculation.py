"""How many drafted tokens a speculative step accepts."""

from functools import cache
from random import Random


@cache
def position_acceptance(acceptance: float, drafted: int) -> float:
    """Chance p that a draft token is accepted, given those before it were.

    Solves (p + p^2 + … + p^drafted) / drafted = acceptance, so that accepted / drafted
    tokens is `acceptance` in expectation.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        share = sum(middle**position for position in range(1, drafted + 1)) / drafted
        low, high = (middle, high) if share < acceptance else (low, middle)
    return (low + high) / 2


def draw_accepted(acceptance: float, drafted: int, random: Random) -> int:
    """Tokens of one draft of `drafted` that are accepted: the ones before the first miss."""
    chance = position_acceptance(acceptance, drafted)
    count = 0
    while count < drafted and random.random() < chance:
        count += 1
    return count
