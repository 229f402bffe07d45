"""What TensorRT-LLM's settings become on which vLLM."""

from pathlib import Path
from typing import Any

import pytest

from runners.checks.tables import engine_options, gpu, known_model
from runners.convert import Conversion, convert, read_settings
from runners.convert.settings import Target, settings_of
from runners.data import folder
from runners.errors import UsageError

EAGLE3 = {"method": "eagle3", "model": "x/y-Eagle3", "num_speculative_tokens": 3}


def converted(settings: dict[str, Any], version: str = "0.32.0", **known: Any) -> Conversion:
    return convert(settings_of(settings, Target(version=version, **known)))


def args(settings: dict[str, Any], version: str = "0.32.0", **known: Any) -> dict[str, Any]:
    return converted(settings, version, **known).args


def speculative(config: dict[str, Any], version: str = "0.32.0") -> Any:
    return args({"speculative_config": config}, version).get("speculative_config")


def verdicts(conversion: Conversion) -> dict[str, str]:
    return {row.key: row.outcome.verdict for row in conversion.rows}


def test_a_whole_file() -> None:
    settings = read_settings(folder("profiles") / "engine-configs/eagle_decode.yaml")
    assert convert(settings).args == {
        "tensor_parallel_size": 4,
        "enable_expert_parallel": True,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 1024,
        "max_model_len": 8704,
        "async_scheduling": False,
        "speculative_config": {
            "method": "eagle3",
            "model": "nvidia/Llama-4-Maverick-17B-128E-Eagle3",
            "num_speculative_tokens": 3,
        },
        "enable_prefix_caching": False,
        "cudagraph_capture_sizes": [4, 8, 16, 32, 64, 128, 256, 512, 1024],
        "kv_transfer_config": {"kv_connector": "NixlConnector", "kv_role": "kv_both"},
    }


@pytest.mark.parametrize(
    "path",
    [
        "speculative_model",
        "speculative_model_dir",
        "pytorch_weights_path",
        "pytorch_eagle_weights_path",
    ],
)
def test_the_draft_bears_four_names(path: str) -> None:
    config = {"decoding_type": "Eagle", "max_draft_len": 3, path: "x/y-Eagle3"}
    assert speculative(config) == EAGLE3


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"decoding_type": "Eagle", "max_draft_len": 2, "speculative_model": "x/head"},
            {"method": "eagle", "model": "x/head", "num_speculative_tokens": 2},
        ),
        (
            {
                "decoding_type": "Eagle",
                "max_draft_len": 3,
                "speculative_model": "x/head",
                "eagle3_one_model": False,
            },
            {**EAGLE3, "model": "x/head"},
        ),
        (
            {"decoding_type": "MTP", "num_nextn_predict_layers": 2},
            {"method": "mtp", "num_speculative_tokens": 2},
        ),
        ({"decoding_type": "MTP"}, {"method": "mtp", "num_speculative_tokens": 1}),
        (
            {"decoding_type": "NGram", "max_draft_len": 4},
            {
                "method": "ngram",
                "num_speculative_tokens": 4,
                "prompt_lookup_max": 2,
                "prompt_lookup_min": 1,
            },
        ),
        (
            {"decoding_type": "DraftTarget", "max_draft_len": 4, "speculative_model": "x/small"},
            {"method": "draft_model", "model": "x/small", "num_speculative_tokens": 4},
        ),
        (
            {"decoding_type": "pard", "max_draft_len": 4, "speculative_model": "x/pard"},
            {
                "method": "draft_model",
                "model": "x/pard",
                "num_speculative_tokens": 4,
                "parallel_drafting": True,
            },
        ),
        (
            {"decoding_type": "SA", "max_draft_len": 4},
            {"method": "suffix", "num_speculative_tokens": 4},
        ),
        (
            {
                "decoding_type": "Medusa",
                "max_draft_len": 63,
                "num_medusa_heads": 4,
                "speculative_model": "x/heads",
            },
            {"method": "medusa", "model": "x/heads", "num_speculative_tokens": 4},
        ),
        ({"decoding_type": "Lookahead", "max_window_size": 4}, None),
    ],
)
def test_decoding_types(config: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert speculative(config) == expected


@pytest.mark.parametrize(
    ("kind", "version", "runs"),
    [
        ("Eagle3", "0.8.3", False),
        ("Eagle3", "0.8.5", True),
        ("Draft_Target", "0.9.2", True),
        ("Draft_Target", "0.14.1", False),
        ("Draft_Target", "0.16.0", True),
        ("DFlash", "0.19.1", False),
        ("DFlash", "0.20.2", True),
        ("Medusa", "0.32.0", True),
        ("Medusa", "0.33.0", False),
    ],
)
def test_a_method_the_version_lacks_is_said_not_written(
    kind: str, version: str, runs: bool
) -> None:
    config = {
        "decoding_type": kind,
        "max_draft_len": 3,
        "num_medusa_heads": 3,
        "speculative_model": "x/y",
    }
    conversion = converted({"speculative_config": config}, version)
    assert ("speculative_config" in conversion.args) == runs
    verdict = verdicts(conversion)["speculative_config.decoding_type"]
    assert (verdict == "no counterpart") != runs


def test_flags_of_old_versions() -> None:
    eagle = {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model_dir": "x/head"}
    assert args({"speculative_config": eagle}, "0.8.2") == {
        "speculative_model": "x/head",
        "num_speculative_tokens": 3,
    }
    ngram = {"decoding_type": "NGram", "max_draft_len": 4, "max_matching_ngram_size": 3}
    assert args({"speculative_config": ngram, "guided_decoding_backend": "xgrammar"}, "0.8.2") == {
        "speculative_model": "[ngram]",
        "num_speculative_tokens": 4,
        "ngram_prompt_lookup_max": 3,
        "ngram_prompt_lookup_min": 1,
        "guided_decoding_backend": "xgrammar",
    }
    limited = {**eagle, "max_concurrency": 8, "use_rejection_sampling": True}
    found = args({"speculative_config": limited}, "0.8.2")
    assert found["speculative_disable_by_batch_size"] == 8
    assert found["spec_decoding_acceptance_method"] == "rejection_sampler"


def test_draft_lengths_by_batch_size() -> None:
    config = {"decoding_type": "Eagle3", "max_draft_len": 4, "speculative_model": "x/y"}
    key = "num_speculative_tokens_per_batch_size"
    newest = speculative({**config, "draft_len_schedule": {"4": 4, "8": 2}})[key]
    assert [entry[::2] for entry in newest] == [[1, 4], [5, 2], [9, 0]]
    assert [entry[1] for entry in newest[:2]] == [4, 8]
    older = speculative({**config, "draft_len_schedule": {"1": 4, "4": 2, "8": 0}})[key]
    assert [entry[::2] for entry in older] == [[1, 4], [4, 2], [8, 0]]
    limit = speculative({**config, "max_concurrency": 16})[key]
    assert [entry[::2] for entry in limit] == [[1, 4], [17, 0]]
    assert key not in speculative({**config, "max_concurrency": 16}, "0.20.2")


def test_the_share_of_memory_is_of_what_is_left() -> None:
    settings = {"tensor_parallel_size": 2, "kv_cache_config": {"free_gpu_memory_fraction": 0.9}}
    without = converted(settings)
    key = "kv_cache_config.free_gpu_memory_fraction"
    assert verdicts(without)[key] == "needs input"
    assert "gpu_memory_utilization" not in without.args
    model, device = known_model("Llama-3.1-8B-Instruct"), gpu("H100")
    assert model is not None and model.parameters and device is not None and device.reported_gib
    weights, memory = model.parameters, device.reported_gib * 2**30  # two bytes on two GPUs
    expected = (weights + 0.9 * (memory - weights)) / memory
    found = args(settings, model=model, gpu=device)["gpu_memory_utilization"]
    assert found == pytest.approx(expected, abs=1e-3)


def test_vllm_s_own_name_beside_it_wins() -> None:
    conversion = converted(
        {"max_batch_size": 64, "max-num-seqs": 8, "max_num_seqs": 32, "max_seq_len": 1024}
    )
    assert conversion.args == {"max_num_seqs": 32, "max_model_len": 1024}
    notes = {row.key: row.outcome.note for row in conversion.rows}
    assert notes["max_batch_size"] == "max_num_seqs is given too and wins"


def unanswered(settings: dict[str, Any]) -> list[str]:
    """Keys that the converter does not know; a value of the wrong kind is known."""
    try:
        rows = converted(settings).rows
    except UsageError:
        return []
    return [row.key for row in rows if "not a key known here" in row.outcome.note]


def test_speculation_in_vllm_s_own_words_passes() -> None:
    own = {"model": "x/small", "num_speculative_tokens": 2}
    assert args({"max_batch_size": 4, "speculative_config": own}) == {
        "max_num_seqs": 4,
        "speculative_config": own,
    }


def test_every_known_key_has_an_answer() -> None:
    """What the validator knows of TensorRT-LLM, the converter knows too."""
    known = engine_options("tensorrt-llm")
    eagle = {"decoding_type": "Eagle", "max_draft_len": 3, "speculative_model": "x"}
    settings: list[dict[str, Any]] = [{key: "x"} for key in known.keys]
    settings += [{name: {key: "x"}} for name, keys in known.sections.items() for key in keys]
    settings += [
        {"speculative_config": {**eagle, key: "x"}}
        for key in known.speculative_keys - {"decoding_type"}
    ]
    assert len(settings) > 80
    assert not [key for each in settings for key in unanswered(each)]


def test_nothing_is_dropped_silently() -> None:
    conversion = converted({"max_batchsize": 3, "kv_cache_config": {"dtyp": "fp8"}, "hm": 1})
    assert set(verdicts(conversion).values()) == {"no counterpart"}
    notes = {row.key: row.outcome.note for row in conversion.rows}
    assert "did you mean max_batch_size?" in notes["max_batchsize"]
    assert "did you mean dtype?" in notes["kv_cache_config.dtyp"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speculative_config: {decoding_type: Eagel}", ["1:", "Eagel", "did you mean Eagle?"]),
        ("speculative_config:\n  max_draft_len: 3", ["1:", "decoding_type is missing"]),
        (
            "speculative_config:\n  decoding_type: Eagle3\n  max_draft_len: 3\n"
            "  speculative_model: a\n  draft_len_schedule: {4: 3}\n  max_concurrency: 8",
            ["5:", "draft_len_schedule", "together with max_concurrency"],
        ),
        (
            "speculative_config:\n  decoding_type: Eagle3\n  max_draft_len: 3\n"
            "  speculative_model: a\n  speculative_model_dir: b",
            ["4:", "contradicts itself", "speculative_model_dir: b"],
        ),
        (
            "speculative_config:\n  decoding_type: MTP\n  max_draft_len: 3\n"
            "  num_nextn_predict_layers: 1",
            ["contradicts itself"],
        ),
        ("cuda_graph_config: {batch_sizes: [1, 2], max_batch_size: 4}", ["1:", "make them equal"]),
        ("max_batch_size: many", ["1:", "takes a whole number", "'many'"]),
        ("tp_size: 2\ntensor_parallel_size: 4", ["tp_size", "given too"]),
        ("- max_batch_size", ["not keys with values"]),
        ("a: [", ["2:", "not valid YAML"]),
        ("", ["empty"]),
    ],
)
def test_errors_are_one_line_with_their_place(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        convert(read_settings(file))
    line = str(caught.value)
    assert "\n" not in line and "engine.yaml" in line
    assert all(word in line for word in words), line


def test_the_dialect_of_older_documents() -> None:
    eagle = {"decoding_type": "Eagle", "max_draft_len": 3}
    settings = {
        "speculative_config": {**eagle, "speculative_model_dir": "facebook/opt-125m"},
        "max_batch_size": 16,
        "max_num_tokens": 512,
        "max_seq_len": 1024,
    }
    conversion = convert(settings_of(settings), "dynamo")
    assert conversion.args == {
        "speculative_model": "facebook/opt-125m",
        "num_speculative_tokens": 3,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 512,
        "max_model_len": 1024,
    }
    assert "0.8.3" in conversion.warnings[0]
    mtp = {"speculative_config": {"decoding_type": "MTP", "num_nextn_predict_layers": 2}}
    assert convert(settings_of(mtp), "dynamo").args == {
        "speculative_model": "[ngram]",
        "num_speculative_tokens": 4,
        "ngram_prompt_lookup_max": 4,
    }
