"""Engines: what a profile asks for and its engine does not have."""

from collections.abc import Iterator

from runners.checks.case import Case
from runners.checks.rule import REMOVE, Change, Hit, rule
from runners.checks.unsupported import translated, unsupported

OTHERS = ("tgi", "tensorrt-llm")


@rule(
    "engine.unsupported",
    severity="error",
    fails="at start-up",
    basis="documents",
    evidence="The table of features by engine and version, made from TGI's "
    "launcher, TensorRT-LLM's llm_args.py and its feature combination matrix.",
    engines=OTHERS,
)
def no_such_feature(case: Case) -> Iterator[Hit]:
    """The engine must have every feature and argument that the profile asks for."""
    for each in unsupported(case.profile, case.profile.engine.name):
        removable = each.key.startswith("engine.args.") and each.certain
        yield Hit(
            each.key,
            f"{each.why}.",
            each.fix,
            (Change(each.key, REMOVE, f"{case.engine} cannot do it"),) if removable else (),
            severity=None if each.certain else "warning",
        )


@rule(
    "engine.approximate",
    severity="info",
    fails="silently",
    basis="documents",
    evidence="The argument bears vLLM's name; the engine's own one means something a little "
    "different.",
    engines=OTHERS,
)
def approximate(case: Case) -> Iterator[Hit]:
    """Some arguments of vLLM's name mean something a little different on another engine."""
    said = translated(case.profile)
    for each in said.approximate if said else ():
        if each.key.rpartition(".")[2] not in case.args:
            continue  # it stands for something in the section `model`
        yield Hit(
            each.key,
            f"{each.why}.",
            f"Read it so when you compare, or set engine.specific.{case.engine}.args.",
        )


@rule(
    "engine.maintenance",
    severity="warning",
    fails="in the results",
    basis="documents",
    evidence="TGI's README since December 2025: maintenance mode, small fixes only; it points to "
    "vLLM and SGLang.",
    engines=("tgi",),
    targets=("kserve", "local", "url"),
)
def maintenance(case: Case) -> Iterator[Hit]:
    """TGI is in maintenance mode since December 2025."""
    yield Hit(
        "engine.name",
        "TGI only gets small fixes since December 2025; its makers recommend vLLM.",
        "engine.name: vllm, unless TGI is what you compare",
    )
