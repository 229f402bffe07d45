"""A small byte-level BPE tokenizer, trained on the standard library's sources."""

import json
import sysconfig
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 4096
CONTEXT = 4096
BOS, EOS = "<|bos|>", "<|eos|>"
SPECIAL = (BOS, EOS, "<|user|>", "<|assistant|>")
BOS_ID, EOS_ID = 0, 1
_TRAINING_BYTES = 2_000_000
_CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|eos|>' }}"
    "{% else %}{{ '<|user|>' + message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def training_texts() -> list[str]:
    """The first two megabytes of the standard library's top-level modules, by name.

    They are on every machine and the same for the same Python version.
    """
    texts: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if path.name.startswith("_sysconfigdata"):
            continue  # holds build paths, which differ between installations
        text = path.read_text(encoding="utf-8", errors="ignore")
        texts.append(text)
        size += len(text)
        if size > _TRAINING_BYTES:
            break
    return texts


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-level BPE of VOCABULARY tokens: any text round-trips, nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json (chat template included)."""
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": _CHAT_TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def plain_text_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of the tokens made of printable ASCII, blanks and line ends only.

    The others (bytes that are no character by themselves, special tokens) would break
    answers into invalid UTF-8 or end them early.
    """
    ids = []
    for token_id in range(len(SPECIAL), tokenizer.get_vocab_size()):
        text = tokenizer.decode([token_id])
        if text and all(letter in "\n\t" or " " <= letter <= "~" for letter in text):
            ids.append(token_id)
    return ids
