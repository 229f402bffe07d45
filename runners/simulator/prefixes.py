"""The identities of a prompt's blocks: what a prefix cache is keyed by."""

from runners.simulator.asked import CHARACTERS_PER_TOKEN, Prompt


def prefix_identities(prompt: Prompt, prompt_tokens: int, block_size: int) -> tuple[int, ...]:
    """One number for each full block of `prompt`, decided by it and all before it.

    Good within one process: text is hashed differently in the next.
    """
    size = block_size * (CHARACTERS_PER_TOKEN if isinstance(prompt, str) else 1)
    identities: list[int] = []
    prefix = 0
    for block in range(prompt_tokens // block_size):
        prefix = hash((prefix, prompt[block * size : (block + 1) * size]))
        identities.append(prefix)
    return tuple(identities)


class PrefixCache:
    """Blocks of prompts seen before, by their whole prefix; the oldest are forgotten."""

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        self._seen: dict[int, None] = {}

    def look_up(self, prompt: Prompt, prompt_tokens: int, block_size: int) -> int:
        """Tokens of `prompt` that were cached; afterwards all its full blocks are.

        The last token is always computed, as in vLLM.
        """
        hits = 0
        unbroken = True
        for prefix in prefix_identities(prompt, prompt_tokens, block_size):
            if prefix in self._seen:
                hits += unbroken
            else:
                unbroken = False
                self._seen[prefix] = None
                if len(self._seen) > self._limit:
                    del self._seen[next(iter(self._seen))]
        return min(hits, (prompt_tokens - 1) // block_size) * block_size
