"""What an installed vLLM says of arguments; a program for the engine's own interpreter.

It imports nothing of the toolkit. Standard input holds one question a line:
{"id", "args": [...], "env": {...}, "capability": 75 or null}. For each it prints a line
{"id", "verdict": "accepts" | "rejects" | "unknown", "stage", "error"}; unknown is an answer
that says nothing about the arguments, such as a model that cannot be fetched. Each question
is put in a process of its own, so that one cannot spoil the next.
"""

import json
import os
import sys
from typing import Any

MARK = "VERDICT "
# The model or the network, not the arguments.
ELSEWHERE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "HfHubHTTPError")


def main() -> None:
    """Answer every question on standard input."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    questions = [json.loads(line) for line in sys.stdin if line.strip()]
    import vllm.engine.arg_utils  # noqa: F401  # once for all the children

    for question in questions:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            answer = {"id": question["id"], **_ask(question)}
            os.write(writer, json.dumps(answer).encode())
            os.close(writer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read().decode()
        os.waitpid(child, 0)
        gone = json.dumps(
            {"id": question["id"], "verdict": "rejects", "stage": "crash", "error": "it ended"}
        )
        print(MARK + (text or gone), flush=True)


def _ask(question: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(question.get("env") or {})
    stage = "arguments"
    try:
        if question.get("capability"):
            _pretend(question["capability"])
        parsed = _parse(question["args"])
        stage = "configuration"
        _configure(parsed)
    except BaseException as error:
        name = type(error).__name__
        elsewhere = any(base.__name__ in ELSEWHERE for base in type(error).__mro__)
        text = f"{name}: {error}"
        if elsewhere or "couldn't connect" in text:
            return {"verdict": "unknown", "stage": stage, "error": text[:600]}
        return {"verdict": "rejects", "stage": stage, "error": text[:600]}
    return {"verdict": "accepts", "stage": "configuration", "error": None}


class _RefusedError(Exception):
    """What the engine's parser would have printed before it ended."""


def _parse(args: list[str]) -> Any:
    """The API server's own parser and its checks of what was parsed."""
    from importlib import import_module

    try:
        cli = import_module("vllm.entrypoints.launchers.cli_args")
    except ImportError:
        cli = import_module("vllm.entrypoints.openai.cli_args")
    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> None:
            raise _RefusedError(message)

    parsed = cli.make_arg_parser(Parser()).parse_args(args)
    parsed.subparser = "serve"
    cli.validate_parsed_serve_args(parsed)
    return parsed


def _configure(parsed: Any) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    AsyncEngineArgs.from_cli_args(parsed).create_engine_config(
        usage_context=UsageContext.OPENAI_API_SERVER
    )
    _check_parsers(parsed)


def _check_parsers(parsed: Any) -> None:
    """The names of tool and reasoning parsers, which the server looks up before it listens."""
    from importlib import import_module

    try:
        launcher = import_module("vllm.entrypoints.launchers.launcher")
    except ImportError:
        launcher = import_module("vllm.entrypoints.openai.api_server")
    if hasattr(launcher, "validate_api_server_args"):
        launcher.validate_api_server_args(parsed)


def _pretend(capability: int) -> None:
    """Let the platform claim a compute capability (75 is 7.5)."""
    from vllm.platforms import current_platform
    from vllm.platforms.interface import DeviceCapability

    claimed = DeviceCapability(*divmod(capability, 10))

    def get(device_id: int = 0) -> DeviceCapability:
        return claimed

    for owner in (current_platform, type(current_platform)):
        owner.get_device_capability = get


if __name__ == "__main__":
    main()
