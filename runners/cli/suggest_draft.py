"""`suggest-draft`: drafts that fit a model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runners.errors import Exit

if TYPE_CHECKING:
    from runners.checks.drafts import Suggested


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--model", required=True, metavar="URI", help="The model that is to be served.")
@click.option("--vllm-version", metavar="V", help="vLLM that serves it. [the newest known]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def suggest_draft(model: str, vllm_version: str | None, as_json: bool) -> int:
    """Drafts for speculative decoding that fit a model, and what is not known of them."""
    from runners.checks.drafts import suggest
    from runners.profiles.engine_section import ENGINE_VERSIONS

    suggested = suggest(model, vllm_version or ENGINE_VERSIONS["vllm"], Path.cwd())
    if as_json:
        print(json.dumps(_plain(suggested)))
    else:
        _print(suggested)
    return Exit.DONE


def _plain(suggested: "Suggested") -> dict[str, Any]:
    return {
        "model": suggested.model,
        "vllm_version": suggested.version,
        "suggestions": [asdict(each) for each in suggested.suggestions],
        "unknown": list(suggested.unknown),
    }


def _print(suggested: "Suggested") -> None:
    target = suggested.target
    size = f", {target.parameters / 1e9:.3g}B parameters" if target and target.parameters else ""
    words = f", {target.vocab_size} tokens in its vocabulary" if target else ""
    print(f"{suggested.model} on vLLM {suggested.version}{size}{words}")
    for each in suggested.suggestions:
        print(f"\n--speculative-config '{json.dumps(dict(each.config))}'")
        print(f"    why: {each.why}")
        print(f"    vocabulary: {each.vocabulary}")
        if each.unusable:
            print(f"    not usable: {each.unusable}")
    print("\nnot known:")
    for line in suggested.unknown:
        print(f"    {line}")
