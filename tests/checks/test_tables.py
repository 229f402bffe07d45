"""The validator's tables: held against a real engine, against physics and against each other."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runners.checks import tables
from runners.checks.tables import Option, VllmRelease
from runners.engines.environment import installed_version
from runners.errors import UsageError
from runners.profiles.features import RENAMED, Refused, version_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def checkpoints(folder: Path) -> list[Path]:
    """A folder with a config.json for each of the shapes."""
    shapes: dict[str, Any] = json.loads((HERE / "shapes.json").read_text(encoding="utf-8"))
    for name, config in shapes.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return [folder / name for name in shapes]


@pytest.fixture(scope="session")
def engine_says(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the engine's own code answers (ask_engine.py)."""
    folders = checkpoints(tmp_path_factory.mktemp("shapes"))
    command = [engine_python, HERE / "ask_engine.py", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    said: dict[str, Any] = json.loads(done.stdout)
    return said | {"folders": folders}


@pytest.fixture(scope="session")
def engine_table(engine_python: Path) -> VllmRelease:
    """The kept table of the engine's release."""
    version = installed_version(engine_python)
    assert version is not None
    release = tables.vllm_release(version.partition("+")[0])
    if not release.exact:
        pytest.skip(f"no table is kept for vLLM {version}")
    return release


def as_told(option: Option) -> dict[str, Any]:
    kind = f"list of {option.of}" if option.kind == "list" else option.kind
    once = kind == "bool" and not option.negatable
    return {
        "kind": "bool once" if once else kind,
        "choices": list(option.choices) if option.choices else None,
        "default": option.default,
    }


@pytest.mark.engine
def test_options_are_those_of_the_real_parser(
    engine_says: dict[str, Any], engine_table: VllmRelease
) -> None:
    ours = {name: as_told(option) for name, option in engine_table.flags.items()}
    theirs = engine_says["flags"]
    # Among its choices is the accelerator of the machine that asks; the table has CUDA's.
    ours["mm_processor_device"]["choices"].remove("cuda")
    assert ours == theirs


@pytest.mark.engine
def test_names_are_those_that_the_engine_registers(
    engine_says: dict[str, Any], engine_table: VllmRelease
) -> None:
    internal = {name for name in engine_says["speculative_keys"] if name.endswith("_config")}
    assert engine_table.speculative_keys.keys() == {*engine_says["speculative_keys"]} - internal | {
        "draft_load_config"
    }
    for ours, theirs in {
        engine_table.speculative_methods: "speculative_methods",
        engine_table.quantization: "quantization",
        engine_table.deprecated_quantization: "deprecated",
        engine_table.tool_parsers: "tool_parsers",
        engine_table.reasoning_parsers: "reasoning_parsers",
        engine_table.kv_connectors: "kv_connectors",
        engine_table.attention_backends: "attention_backends",
    }.items():
        assert sorted(ours) == engine_says[theirs], theirs
    assert dict(engine_table.min_capability) == engine_says["min_capability"]


@pytest.mark.engine
def test_a_table_is_written_again_byte_for_byte(
    engine_python: Path, engine_table: VllmRelease, tmp_path: Path
) -> None:
    script = ROOT / "scripts" / "read_vllm_release.py"
    command = [sys.executable, script, "--engine-python", engine_python, "--out", tmp_path]
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=120)
    name = f"{engine_table.version}.json"
    kept = ROOT / "runners" / "checks" / "data" / "vllm" / name
    assert (tmp_path / name).read_text() == kept.read_text()


@pytest.mark.engine
def test_a_checkpoint_has_the_shape_that_the_engine_sees(engine_says: dict[str, Any]) -> None:
    for folder in engine_says["folders"]:
        facts, seen = tables.read_model_config(folder), engine_says["shapes"][folder.name]
        head_size = seen.pop("head_size")
        assert {name: getattr(facts, name) for name in seen} == seen, folder.name
        if facts.kv_lora_rank is None:
            assert facts.head_dim == head_size, folder.name
        else:
            assert facts.kv_lora_rank + (facts.qk_rope_head_dim or 0) == head_size, folder.name


# Worked by hand from published shapes: bytes of KV cache for one token in bf16.
KV_BYTES = {
    "hf://NousResearch/Meta-Llama-3.1-8B-Instruct": 131072,
    "meta-llama/Llama-3.1-70B-Instruct": 327680,
    "Qwen/Qwen2.5-7B-Instruct": 57344,
    "Qwen/Qwen2.5-7B-Instruct-AWQ": 57344,
    "Qwen/Qwen3-8B": 147456,
    "qwen/qwen3-32b": 262144,
    "mistralai/Mistral-7B-Instruct-v0.3": 131072,
    "NousResearch/Llama-2-7b-hf": 524288,
    "deepseek-ai/DeepSeek-V3-0324": 70272,
}


@pytest.mark.parametrize(("repository", "expected"), KV_BYTES.items())
def test_popular_models_have_the_cache_size_worked_by_hand(repository: str, expected: int) -> None:
    model = tables.known_model(repository)
    assert model is not None
    assert model.kv_bytes_per_token() == expected


def test_tensor_parallelism_divides_heads_but_not_a_latent() -> None:
    llama, deepseek = tables.known_model("Llama-3.1-70B"), tables.known_model("DeepSeek-R1")
    assert llama and deepseek
    assert llama.kv_bytes_per_token(tensor_parallel=16) == 327680 / 8  # a head on every rank
    assert deepseek.kv_bytes_per_token(tensor_parallel=8) == deepseek.kv_bytes_per_token()


# What the checkpoints' own metadata says.
PARAMETERS = {
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "google/gemma-2-9b-it": 9_241_705_984,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
}


@pytest.mark.parametrize(("repository", "published"), PARAMETERS.items())
def test_counted_parameters_are_the_published_ones(repository: str, published: int) -> None:
    model = tables.known_model(repository)
    assert model is not None
    assert model.parameters == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize(
    "repository",
    ["RedHatAI/Llama-3.1-8B-Instruct-speculator.eagle3", "me/My-Llama-3.1-8B-merge", "gpt2"],
)
def test_a_model_that_only_resembles_a_popular_one_is_not_taken_for_it(repository: str) -> None:
    assert tables.known_model(repository) is None


def test_a_quantized_copy_says_what_its_name_says() -> None:
    copy = tables.known_model("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8")
    original = tables.known_model("openai/gpt-oss-20b")
    assert copy and original
    assert (copy.layers, copy.named_quantization, copy.quantization) == (32, "w8a8", None)
    assert (original.named_quantization, original.quantization) == (None, "mxfp4")


def test_a_config_json_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    for content in (b"{", b"[]", b"\xff\xfe\x00"):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(UsageError, match=r"config\.json"):
            tables.read_model_config(tmp_path)


def test_what_a_config_json_leaves_out_stays_unknown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "new", "num_hidden_layers": 3}')
    facts = tables.read_model_config(tmp_path)
    assert facts.layers == 3
    assert facts.kv_heads is facts.parameters is facts.max_length is None
    assert facts.kv_bytes_per_token() is None


def test_slices_of_a_gpu_fit_into_it() -> None:
    for name in tables.gpu_names():
        facts = tables.gpu(name)
        assert facts is not None
        for product in facts.products:
            form = tables.gpu(product)
            assert form is not None and form.largest_gib == form.memory_gib
            assert form.reported_gib is None or 0.9 < form.reported_gib / form.memory_gib <= 1
            for profile, count in (form.mig or {}).items():
                compute = int(profile.partition("g.")[0])
                assert compute * count <= 7, (name, profile)
                memory = (tables.mig_memory_gb(profile) - 0.5) * count  # names are rounded up
                assert memory <= form.memory_gib, (name, profile)


def test_a_gpu_goes_by_its_short_name_and_by_its_node_label() -> None:
    by_name, by_label = tables.gpu("a100"), tables.gpu("NVIDIA-A100-SXM4-80GB-SHARED")
    assert by_name and by_label
    assert (by_name.memory_gib, by_name.largest_gib, by_name.nvlink) == (40, 80, None)
    assert (by_label.memory_gib, by_label.nvlink, by_label.capability) == (80, True, 80)
    assert tables.gpu("L4") != tables.gpu("L40")
    assert tables.gpu("GTX-9999") is None


def test_a_version_without_a_table_gets_the_nearest_older_one() -> None:
    newest = tables.vllm_versions()[-1]
    future = tables.vllm_release("99.0")
    assert (future.version, future.exact, future.newest) == (newest, False, True)
    assert tables.vllm_release("v0.15.1").version == "0.14.1", "0.15 was never published as source"
    assert tables.vllm_release("0.9.0").version.startswith("0.9."), "not one of 0.8"
    assert tables.vllm_release("0.10.2rc1+cu128").version == "0.10.2"


def test_no_older_spelling_is_refused_that_its_engine_still_takes() -> None:
    for name, entry in RENAMED.items():
        for version in tables.vllm_versions():
            if name in tables.vllm_release(version).flags and version_of(version) > entry.last:
                assert not isinstance(entry.become(5, version_of(version)), Refused), (
                    name,
                    version,
                )


def test_every_engine_says_of_every_feature_whether_it_has_it() -> None:
    rows = [tables.feature_support(engine) for engine in ("vllm", "tgi", "tensorrt-llm")]
    assert rows[0].keys() == rows[1].keys() == rows[2].keys()
    medusa = rows[0]["speculation.medusa"]
    assert medusa.at("0.32.0") and not medusa.at("0.33.0")
    assert "medusa" in tables.vllm_release("0.32.0").speculative_methods
    assert "medusa" not in tables.vllm_release("0.33.0").speculative_methods


def test_options_of_other_engines_point_at_options_of_vllm() -> None:
    known = tables.vllm_release("0.32.0").flags
    for engine in ("tgi", "tensorrt-llm"):
        facts = tables.engine_options(engine)
        every = [facts.options, facts.keys, *facts.sections.values()]
        for option in (option for options in every for option in options.values()):
            assert option.vllm is None or option.vllm in known, (engine, option.name)
