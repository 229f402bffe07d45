"""Finding, inheriting, overriding and rejecting profiles, as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runners.checks.finding import Where
from runners.errors import Exit, UsageError
from runners.profiles.load import (
    Override,
    ProfileError,
    dump,
    find_profile,
    list_profiles,
    load_profile,
    parse_set,
)
from runners.profiles.model import Profile

MINIMAL = "name: mine\nmodel:\n  uri: tiny://target\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rejection(name: str, *sets: str) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        load_profile(name, [parse_set(text) for text in sets])
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", [row.name for row in list_profiles()])
def test_every_shipped_profile_loads_and_survives_a_round_trip(name: str) -> None:
    loaded = load_profile(name)
    assert loaded.findings == ()
    written = write("resolved.yaml", dump(loaded.profile))
    assert load_profile(written).profile == loaded.profile
    assert Profile.model_validate(yaml.safe_load(written.read_text())) == loaded.profile
    assert Profile.model_validate(loaded.data) == loaded.profile


@pytest.mark.parametrize("row", list_profiles(), ids=lambda row: row.name)
def test_a_shipped_profile_says_what_it_shows_and_pins_its_batch(row: Any) -> None:
    loaded = load_profile(row.path)
    assert loaded.profile.description
    assert loaded.profile.name == row.name.rsplit("/", 1)[-1]
    assert {"max_num_seqs", "max_num_batched_tokens"} <= loaded.profile.engine.args.keys()
    first = row.path.read_text(encoding="utf-8").splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (row.path.parent / schema).resolve().is_file()


@pytest.mark.parametrize(
    "reference",
    ["cpu-smoke", "cpu-smoke.yaml", "runners/profiles/cpu-smoke", "./profiles/cpu-smoke.yaml"],
)
def test_a_name_finds_the_shipped_profile(reference: str) -> None:
    assert find_profile(reference).name == "cpu-smoke.yaml"


def test_a_file_here_comes_before_a_shipped_name() -> None:
    write("cpu-smoke.yaml", MINIMAL)
    assert load_profile("cpu-smoke.yaml").profile.name == "mine"


@pytest.mark.parametrize("reference", ["cpu-smok", "cpu_smoke.yaml", "runners/profiles/cpusmoke"])
def test_an_unknown_name_gets_a_suggestion_and_the_way_out(reference: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean .*cpu-smoke.*--list-profiles"):
        find_profile(reference)


def test_a_folder_and_an_impossible_path_are_refused_in_one_line() -> None:
    Path("some").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        find_profile("some")
    for impossible in ("x" * 5000, "a\x00b", ""):
        with pytest.raises(UsageError):
            find_profile(impossible)


@pytest.mark.parametrize(
    ("lines", "place", "key", "says"),
    [
        ("load:\n  concurency: 3\n", "5:3", "load.concurency", 'Did you mean "concurrency"?'),
        ("duration_s: 3\n", "4:1", "duration_s", "Did you mean load.duration_s?"),
        ("load:\n  concurrency: 0\n", "5:16", "load.concurrency", "at least 1, not 0"),
        ("load:\n  rate: -1\n", "5:9", "load.rate", "greater than 0, not -1"),
        ('load:\n  rate: "5"\n', "5:9", "load.rate", "Write it without quotes."),
        ("load:\n  pattern: posson\n", "5:12", "load.pattern", 'Did you mean "poisson"?'),
        ("engine:\n  version: 0.32\n", "5:12", "engine.version", 'in quotes: "0.32"'),
        ("engine:\n  version: newest\n", "5:12", "engine.version", "such as 0.32.0"),
        ("engine:\n  env: {A: 1}\n", "5:12", "engine.env.A", 'in quotes: "1"'),
        ("load: null\n", "4:7", "load", "not null"),
        ("load: 5\n", "4:7", "load", "must be a section with pattern"),
        ("load: {warmup: {requests: 1, seconds: 1}}\n", "4:8", "load.warmup", "not both"),
        ("workload: {prompts: [a, 2]}\n", "4:25", "workload.prompts.1", "text, not 2"),
        ("workload: {shared_prefix: {}}\n", "4:12", "workload.shared_prefix.tokens", "missing"),
    ],
)
def test_a_fault_names_place_key_and_repair(lines: str, place: str, key: str, says: str) -> None:
    write("p.yaml", MINIMAL + lines)
    line = str(rejection("p.yaml"))
    assert line.startswith(f"p.yaml:{place}: {key}: ")
    assert says in line


def test_whole_numbers_are_fine_where_numbers_are_meant() -> None:
    write("p.yaml", MINIMAL + "load:\n  rate: 5\n  duration_s: 30\n")
    assert load_profile("p.yaml").profile.load.rate == 5.0


def test_all_faults_are_reported_in_the_order_of_the_file() -> None:
    write(
        "p.yaml", MINIMAL + "load:\n  rate: no\n  seed: -1\nvllm_features:\n  load_in_8bit: yes\n"
    )
    error = rejection("p.yaml")
    assert [finding.key for finding in error.findings] == [
        "load.rate",
        "load.seed",
        "vllm_features.load_in_8bit",
    ]
    assert str(error).endswith("(and 2 more)")


def test_a_missing_model_is_said_at_the_start_of_the_file() -> None:
    write("p.yaml", "name: x\n")
    assert str(rejection("p.yaml")).startswith("p.yaml:1:1: model: is missing.")


def test_inheritance_merges_mappings_and_replaces_the_rest() -> None:
    write("base/a.yaml", MINIMAL + "engine:\n  args: {max-num-seqs: 8, list: [1, 2], keep: 1}\n")
    write(
        "b.yaml", "name: b\nextends: base/a.yaml\nengine:\n  args: {max_num_seqs: 4, list: [3]}\n"
    )
    write("c.yaml", "name: c\nextends: b.yaml\nengine:\n  args: {keep: null}\n")
    loaded = load_profile("c.yaml")
    assert loaded.profile.name == "c"
    assert loaded.profile.engine.args == {"max_num_seqs": 4, "list": [3], "keep": None}
    assert loaded.data.get("extends") is None
    assert [path.name for path in loaded.parents] == ["a.yaml", "b.yaml"]


def test_a_fault_in_a_parent_is_placed_in_the_parent() -> None:
    write("a.yaml", MINIMAL + "load: {concurrency: many}\n")
    write("b.yaml", "name: b\nextends: ./a.yaml\nload: {seed: 1}\n")
    assert str(rejection("b.yaml")).startswith("a.yaml:4:21: load.concurrency: ")


@pytest.mark.parametrize(
    ("extends", "says"),
    [
        ("b.yaml", "circle: a.yaml → b.yaml → a.yaml"),
        ("a", "circle: a.yaml → a.yaml"),
        ("[standard, cpu-smoke]", "a.yaml:2:10: extends: takes the name of one parent, not a list"),
        ("standrad", "a.yaml:2:10: extends: there is no profile 'standrad'; did you mean standard"),
        ("5", "takes the name of one parent"),
    ],
)
def test_inheritance_that_cannot_work(extends: str, says: str) -> None:
    write("a.yaml", f"name: a\nextends: {extends}\n")
    write("b.yaml", "name: b\nextends: a.yaml\n")
    assert says in str(rejection("a.yaml"))


def test_overrides_come_last_and_in_order() -> None:
    sets = ["load.concurrency=3", "engine.args={}", "engine.args.max-num-seqs=5", "requests=7"]
    profile = load_profile("cpu-smoke", [parse_set(text) for text in sets]).profile
    assert (profile.load.concurrency, profile.load.requests) == (3, 7)
    assert profile.engine.args == {"max_num_seqs": 5}


def test_a_bad_override_names_its_flag_instead_of_a_place() -> None:
    error = rejection("cpu-smoke", "load.concurency=3")
    assert str(error).startswith("load.concurency: unknown key (given by --set load.concurency).")
    with pytest.raises(ProfileError, match=r"not 0 \(given by --concurrency\)"):
        load_profile("cpu-smoke", [Override("load.concurrency", 0, "--concurrency")])


@pytest.mark.parametrize("text", ["load.concurrency", "=3", "a..b=1", "a=[", ""])
def test_a_set_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_set(text)


@pytest.mark.parametrize("key", ["extends", "name.x", "workload.kind.deep"])
def test_a_set_that_leads_nowhere(key: str) -> None:
    assert f"(given by --set {key})" in str(rejection("cpu-smoke", f"{key}=1"))


def test_the_list_shows_an_unusable_profile_with_its_problem(tmp_path: Path) -> None:
    write("shelf/good.yaml", MINIMAL)
    write("shelf/sub/bad.yaml", "name: x: y")
    good, bad = list_profiles(tmp_path / "shelf")
    assert (good.name, good.target, good.problem) == ("good", "kserve", None)
    assert bad.name == "sub/bad"
    assert bad.problem is not None
    assert "bad.yaml:1:8" in bad.problem


def test_findings_carry_a_place_for_machines_too() -> None:
    write("p.yaml", MINIMAL + "typo: 1\n")
    assert rejection("p.yaml").findings[0].where == Where("p.yaml", 4, 1)


SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(
    allow_nan=False, allow_infinity=False
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*Profile.model_fields, "uri", "args", "rate", "x"]), inner
        )
    ),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [*Profile.model_fields, "vllm_features", "pattern", "requests", "concurrency", "nmae", "a.b"]
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.lists(st.tuples(KEYS, VALUES), max_size=2))
def test_any_tree_loads_or_is_rejected(tree: dict[str, Any], sets: list[tuple[str, Any]]) -> None:
    path = write("fuzz.yaml", json.dumps({"name": "x", "model": {"uri": "y"}} | tree))
    try:
        loaded = load_profile(path, sets)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert load_profile(write("again.yaml", dump(loaded.profile))).profile == loaded.profile


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(VALUES.filter(lambda value: value is not None), st.binary(max_size=200))
def test_any_argument_survives_and_any_bytes_are_answered(value: Any, junk: bytes) -> None:
    profile = Profile.model_validate(
        {"name": "x", "model": {"uri": "y"}, "engine": {"args": {"key": value}}}
    )
    text = dump(profile)
    assert load_profile(write("p.yaml", text)).profile == profile
    Path("junk.yaml").write_bytes(junk)
    with pytest.raises(UsageError):
        load_profile("junk.yaml")
