"""What the simulator says: three letters and a space to a token, the same for a prompt."""

import zlib

from runners.simulator.asked import CHARACTERS_PER_TOKEN

# Every word is one token by the rule of `count_tokens`.
_WORDS = (
    " one two six ten day way man eye job law war art air end age box car cup dog ear "
    "egg fat fly fox gas hat ice ink joy key leg map net oak oil pen pie pot red rod "
    "row sea sky son sun tax tea tie toe top toy van web wet win yes zoo add ask bay bed"
)
_WORD_COUNT = len(_WORDS) // CHARACTERS_PER_TOKEN


def words_for(prompt: object, start: int, tokens: int) -> str:
    """Tokens `start` and after of the answer to `prompt`, which is fixed by it, as under
    greedy decoding: the list of words round and round, from a place the prompt decides."""
    at = (zlib.crc32(repr(prompt).encode()) + start) % _WORD_COUNT
    rounds = (at + tokens) // _WORD_COUNT + 1
    words = _WORDS if rounds == 1 else _WORDS * rounds
    return words[at * CHARACTERS_PER_TOKEN : (at + tokens) * CHARACTERS_PER_TOKEN]
