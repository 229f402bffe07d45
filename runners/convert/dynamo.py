"""The mapping that was proposed for Dynamo, as older documents list it, faults included.

Its keys for speculation are those of vLLM 0.8.2 and older. MTP becomes n-gram look-up with
twice as many tokens. The share of free memory is taken for a share of all memory.
"""

from typing import Any

from runners.convert.outcome import Outcome, Row, approximate, exact, nothing
from runners.convert.settings import Settings
from runners.convert.speculation import PATHS

WARNING = (
    "dialect dynamo: no vLLM from 0.8.3 on accepts these speculative arguments, and its MTP is "
    "n-gram look-up; leave --dialect out to convert for a current version"
)
_RENAMED = {
    "max_batch_size": "max_num_seqs",
    "max_num_tokens": "max_num_batched_tokens",
    "max_seq_len": "max_model_len",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "gpu_memory_utilization": "gpu_memory_utilization",
}
_UNREAD = "this mapping does not read it"


def dynamo_rows(settings: Settings) -> list[Row]:
    """A row for each setting of the file."""
    rows = []
    for key, value in settings.values.items():
        if key == "speculative_config" and isinstance(value, dict):
            rows.append(Row(key, value, _speculation(value, settings.under(key))))
        elif key == "kv_cache_config" and isinstance(value, dict):
            rows += [Row(f"{key}.{name}", each, _cache(name, each)) for name, each in value.items()]
        elif key in _RENAMED:
            rows.append(Row(key, value, exact({_RENAMED[key]: value})))
        else:
            rows.append(Row(key, value, nothing(_UNREAD)))
    return rows


def _cache(name: str, value: Any) -> Outcome:
    if name != "free_gpu_memory_fraction":
        return nothing(_UNREAD)
    note = "taken over unconverted: of what is left there, of the whole here"
    return approximate({"gpu_memory_utilization": value}, note)


def _speculation(given: dict[str, Any], settings: Settings) -> Outcome:
    kind = str(given.get("decoding_type", "")).lower()
    if kind == "eagle":
        model = next((given[name] for name in PATHS if given.get(name)), None)
        if model is None:
            raise settings.error("Eagle needs a draft: give speculative_model_dir")
        said = {"speculative_model": model, "num_speculative_tokens": given.get("max_draft_len", 5)}
        return approximate(said, "flags of vLLM 0.8.2 and older")
    if kind == "mtp":
        layers = given.get("num_nextn_predict_layers", 1)
        said = {
            "speculative_model": "[ngram]",
            "num_speculative_tokens": 2 * settings.whole(layers, 1),
            "ngram_prompt_lookup_max": 4,
        }
        return approximate(said, "n-gram look-up in place of MTP, twice the layers as tokens")
    return nothing(f"this mapping knows Eagle and MTP, not {given.get('decoding_type')}")
