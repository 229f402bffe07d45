"""Hold the validator against a real vLLM: the same profiles put to both.

The profiles are the cases of the validator's tests, one that must be remarked on and a near
miss for each rule. The engine's configuration layer judges them on stand-in checkpoints
(bench/checkpoints.py), believing in the GPU that the profile names. Cases about other
engines, other versions, KServe or the load cannot be put to it and are counted apart.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bench.checkpoints import CHECKPOINTS, make_checkpoint
from runners.checks.ask import Answer, Question, ask, question
from runners.checks.check import case_of, check
from runners.checks.finding import Finding
from runners.engines.environment import CPU_VERSION, find_engine
from runners.profiles.error import ProfileError
from runners.profiles.load import Loaded, load_profile
from runners.progress import Progress

CASES = Path(__file__).parents[1] / "tests" / "checks" / "cases"
DRAFTS = {"eagle3": "eagle3-draft", "medusa": "medusa", "mlp_speculator": "mlp-speculator"}
GOAL = 0.97


@dataclass(frozen=True)
class Asked:
    """One profile put to both. ours: our error findings; None: the profile would not load."""

    id: str
    rule: str
    ours: tuple[Finding, ...]
    answer: Answer
    expected: str | None

    @property
    def outcome(self) -> str:
        """agree, stricter (later failure or not), laxer, or unknown."""
        rejected, accepted = self.answer.verdict == "rejects", self.answer.verdict == "accepts"
        if not (rejected or accepted):
            return "unknown"
        if rejected:
            return "agree: rejected" if self.ours else "laxer"
        if not self.ours:
            return "agree: accepted"
        if self.expected == "later":  # seen on a started server, or read in its source
            return "stricter: it fails later"
        early = [finding for finding in self.ours if finding.fails == "at start-up"]
        return "wrongly rejected" if early else "stricter: it fails later"


def profiles() -> Iterator[tuple[str, dict[str, Any], str | None, dict[str, Any]]]:
    """(id, profile, what the engine is expected to say, case) of each case that can be put."""
    from tests.checks.test_rules import cases, variants

    for id_, case in cases():
        if "why_not" in case:
            continue
        for side in ("fires", "spares"):
            both = {"checkpoint": case.get("checkpoint", "llama"), "draft": case.get("draft")}
            put_so = case | {
                name: given.get(side) if isinstance(given, dict) else given
                for name, given in both.items()
            }
            expected = (case.get("real") or {}).get(side)
            for number, profile in enumerate(variants(case, side)):
                yield f"{id_}-{side}-{number}", profile, expected, put_so


def put(folder: Path) -> tuple[list[Asked], int]:
    """Every case put to both; and how many could not be put because of their version."""
    prepared: list[tuple[str, str, tuple[Finding, ...], Question, str | None]] = []
    left_out = 0
    for name, profile, expected, case in profiles():
        loaded, ours = _ours(profile, folder / "case.yaml")
        if loaded is None or not loaded.profile.engine.version.startswith(CPU_VERSION):
            left_out += 1
            continue
        asked = _question(loaded, case, folder, name)
        prepared.append((name, case["rule"], ours, asked, expected))
    engine = find_engine(Progress())
    answers = ask(engine.path, [item[3] for item in prepared])
    return [
        Asked(name, rule, ours, answer, expected)
        for (name, rule, ours, _, expected), answer in zip(prepared, answers, strict=True)
    ], left_out


def _ours(profile: dict[str, Any], file: Path) -> tuple[Loaded | None, tuple[Finding, ...]]:
    file.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    try:
        loaded = load_profile(file)
    except ProfileError:
        return None, ()
    return loaded, tuple(finding for finding in check(loaded) if finding.severity == "error")


def _question(loaded: Loaded, case: dict[str, Any], folder: Path, name: str) -> Question:
    """The case's question with stand-ins for its model and draft."""
    standing = loaded.profile.engine.args
    model = str(make_checkpoint(case["checkpoint"] or "llama", folder))
    speculation = standing.get("speculative_config")
    if isinstance(speculation, dict) and isinstance(speculation.get("model"), str):
        draft = case.get("draft") or DRAFTS.get(str(speculation.get("method")), "llama-draft")
        if draft in CHECKPOINTS and not speculation["model"].startswith("["):
            speculation["model"] = str(make_checkpoint(draft, folder))
    put = question(case_of(loaded), model, name)
    # Otherwise the CPU's memory decides, of which the profile says nothing.
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", **case.get("env", {}), **put.env}
    return replace(put, env=env, capability=case.get("capability", put.capability))


def report(results: list[Asked], left_out: int) -> tuple[list[str], bool]:
    """The table as Markdown lines, and whether the goal is met."""
    counts = Counter(each.outcome for each in results)
    rejected = counts["agree: rejected"] + counts["laxer"]
    caught = counts["agree: rejected"] / rejected if rejected else 1.0
    surprises = [each for each in results if each.expected and _surprising(each)]
    lines = [
        f"| of {len(results)} profiles put to vLLM {CPU_VERSION} | |",
        "|---|---|",
        *(f"| {name} | {counts[name]} |" for name in sorted(counts)),
        "",
        f"Of {rejected} that the engine rejects at start-up, {caught:.1%} are caught "
        f"(goal {GOAL:.0%}); {counts['wrongly rejected']} that it runs are rejected (goal 0). "
        f"{left_out} further cases are about other versions or do not load.",
        "",
    ]
    for each in results:
        if each.outcome not in ("agree: rejected", "agree: accepted"):
            because = "; ".join(f"{f.rule} ({f.fails})" for f in each.ours)
            said = " ".join((each.answer.error or "").split())[:160]
            lines.append(
                f"- {each.outcome}: {each.id}: ours: {because or 'accepts'}; engine: "
                f"{each.answer.verdict} {said}".rstrip()
            )
    lines += [
        f"- not as the case says: {e.id}: {e.expected}, but the engine {e.answer.verdict}: "
        f"{(e.answer.error or '')[:160]}"
        for e in surprises
    ]
    return lines, caught >= GOAL and not counts["wrongly rejected"] and not surprises


def _surprising(each: Asked) -> bool:
    expected = "accepts" if each.expected == "later" else each.expected
    return each.answer.verdict != expected


def main() -> int:
    """Print the table; exit 1 where the goal is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, left_out = put(Path(folder))
    lines, met = report(results, left_out)
    print("\n".join(lines))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
