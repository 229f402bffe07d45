"""`python -m runners.simulator`: the simulator as a process."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path

from runners.errors import BenchError, UsageError
from runners.simulator.server import Settings, serve
from runners.simulator.settings import FAULTS, Behaviour, read_behaviour


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runners.simulator",
        description="An OpenAI-compatible server with a known truth; nothing it answers is real.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="0 takes a free port")
    add("--model", default="simulated", help="served model name")
    add("--ttft-ms", metavar="DELAY", help="50, or lognormal:MEDIAN,SIGMA")
    add("--itl-ms", metavar="DELAY", help="time between chunks, spelled the same")
    add("--tokens-per-chunk", metavar="N", help="tokens in each chunk")
    add("--max-running", metavar="N", help="further requests wait")
    add("--acceptance", metavar="SHARE", help="accepted / drafted tokens of speculation")
    add("--speculative-tokens", metavar="N", help="tokens drafted per step")
    add(
        "--fault",
        metavar="KIND[:number][@every N]",
        action="append",
        help=f"repeatable; kinds: {', '.join(FAULTS)}",
    )
    add(
        "--engine-model",
        metavar="BOOL",
        nargs="?",
        const="true",
        help="continuous batching decides when tokens come; with it:",
    )
    add("--base-step-ms", metavar="MS", help="duration of an engine step")
    add("--per-running-ms", metavar="MS", help="more of it per sequence in the step")
    add("--per-kilotoken-context-ms", metavar="MS", help="more per 1,000 tokens of context")
    add("--prefill-tokens-s", metavar="RATE", help="prompt tokens computed per second")
    add("--max-batched-tokens", metavar="N", help="tokens per step, decoding first")
    add("--kv-blocks", metavar="N", help="blocks of the KV cache")
    add("--block-size", metavar="N", help="tokens in each of them")
    add("--draft-step-ms", metavar="MS", help="more of a step per drafted token")
    add("--seed", type=int, default=0, help="seed of everything drawn")
    add("--api-key-env", metavar="NAME", help="environment variable with the key to ask for")
    add("--log", type=Path, metavar="FILE", help="truth log, JSON lines, written at exit")
    add("--until-stdin-closes", action="store_true", help="end when stdin does")
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    behaviour = {field.name: getattr(given, field.name) for field in fields(Behaviour)}
    api_key = None
    if given.api_key_env is not None:
        api_key = os.environ.get(given.api_key_env)
        if not api_key:
            raise UsageError(
                f"--api-key-env {given.api_key_env}: this environment variable is not set; "
                "export it, or leave the option out"
            )
    if given.seed < 0:
        raise UsageError(f"--seed {given.seed}: give a whole number from 0")
    return Settings(
        behaviour=read_behaviour(behaviour),
        model=given.model,
        host=given.host,
        port=given.port,
        seed=given.seed,
        api_key=api_key,
        log=given.log,
        until_stdin_closes=given.until_stdin_closes,
    )


def main() -> int:
    try:
        serve(_settings(_parser().parse_args()))
    except BenchError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
