"""Asking an installed engine itself, and where its verdict and ours differ."""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.checks.case import Case
from runners.checks.check import case_of
from runners.checks.finding import Finding
from runners.engines import vllm, vllm_verdict
from runners.errors import TargetError, UsageError
from runners.profiles.load import Loaded

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Question:
    """Arguments for the engine. capability: what its device is to claim, e.g. 75."""

    id: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    capability: int | None = None


@dataclass(frozen=True)
class Answer:
    """verdict: accepts, rejects, or unknown (the model could not be read)."""

    id: str
    verdict: str
    stage: str
    error: str | None


def ask(python: Path, questions: Iterable[Question]) -> list[Answer]:
    """The engine's verdict on each, in order; about a second each after the first.

    Raises TargetError where that interpreter has no vLLM that can be asked.
    """
    lines = [
        json.dumps(
            {"id": q.id, "args": list(q.args), "env": dict(q.env), "capability": q.capability}
        )
        for q in questions
    ]
    program = Path(str(vllm_verdict.__file__)).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(
                # As text: as a file it would put its own folder before the engine's packages.
                [str(python), "-c", program],
                input="\n".join(lines),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S + 10 * len(lines),
                cwd=elsewhere,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetError(f"--ask-engine: {python} could not be asked: {error}") from error
    answers = [
        Answer(**json.loads(line.removeprefix(vllm_verdict.MARK)))
        for line in done.stdout.splitlines()
        if line.startswith(vllm_verdict.MARK)
    ]
    if len(answers) != len(lines):
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TargetError(f"--ask-engine: {python} did not answer: {said[:300]}")
    return answers


def question(case: Case, model: str, id: str = "profile") -> Question:
    """The profile as the engine would be started with it, on the GPU that it names."""
    own = ("--model", model, "--served-model-name", "model")
    capability = case.gpu.capability if case.gpu else None
    return Question(id, (*own, *vllm.flags(case.args)), case.environment, capability)


def asked(loaded: Loaded, findings: Sequence[Finding], engine_python: Path | None) -> list[Finding]:
    """What the installed engine adds: a rejection that no rule foresaw, or one of ours it lacks.

    Raises UsageError where no engine is named or found, TargetError where it cannot be asked.
    """
    case = case_of(loaded)
    if case.engine != "vllm":
        raise UsageError(f"--ask-engine: only vllm can be asked, not {case.engine}")
    from runners.engines.environment import find_engine
    from runners.progress import Progress

    python = find_engine(Progress(), engine_python, case.version).path
    model = case.profile.model.uri.removeprefix("hf://").partition(":")[0]
    answer = ask(python, [question(case, model)])[0]
    return list(_differences(answer, findings))


def _differences(answer: Answer, findings: Sequence[Finding]) -> Iterable[Finding]:
    ours = [f for f in findings if f.severity == "error" and f.fails == "at start-up"]
    said = " ".join((answer.error or "").split())[:300]
    if answer.verdict == "unknown":
        why = f"the installed engine could not judge: {said}."
        yield Finding("engine.not-asked", "info", "", why, "Give the model as a directory.")
    elif answer.verdict == "rejects" and not ours:
        why = f"the installed engine rejects this profile: {said}."
        yield Finding(
            "engine.rejects",
            "error",
            "",
            why,
            "No rule here foresaw it: please report the profile.",
            fails="at start-up",
        )
    elif answer.verdict == "accepts":
        for finding in ours:
            yield Finding(
                "engine.accepts",
                "warning",
                finding.key,
                f"the installed engine accepts what {finding.rule} rejects.",
                "If its version is the profile's, the rule is wrong: please report it.",
                finding.where,
            )
