"""Runs the simulator until a signal, or until its starter is gone."""

import asyncio
import gc
import json
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from runners.errors import OutputError, TargetError
from runners.simulator import truth as truth_log
from runners.simulator.connection import Connection
from runners.simulator.engine import Engine
from runners.simulator.settings import Behaviour
from runners.simulator.timetable import new_loop


@dataclass(frozen=True)
class Settings:
    """One simulator process.

    port: 0 takes a free one. api_key: what /v1 routes ask for; None: nothing.
    log: where the truth goes at exit. until_stdin_closes: end when stdin does, so that the
        process cannot outlive whoever holds the other side.
    """

    behaviour: Behaviour
    model: str
    host: str
    port: int
    seed: int
    api_key: str | None
    log: Path | None
    until_stdin_closes: bool


def serve(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or the end of stdin, then write the truth log.

    Prints one JSON line with the port once it listens. Raises TargetError where the port
    cannot be had, OutputError where the log cannot be written.
    """
    _allow_many_connections()
    if settings.log is not None:
        _write_log(settings.log, [])
    with asyncio.Runner(loop_factory=new_loop) as runner:
        engine = Engine(settings.behaviour, settings.model, settings.seed, runner.get_loop())
        runner.run(_serve(settings, engine))
    if settings.log is not None:
        _write_log(settings.log, engine.truths)


async def _serve(settings: Settings, engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if settings.until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, over)
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(engine, settings.api_key, connections),
            settings.host,
            settings.port,
            backlog=4096,
        )
    except OSError as error:
        raise TargetError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "give another --port, or 0 for a free one"
        ) from error
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    # What lives until the end need not be looked at by every collection.
    gc.freeze()
    await over.wait()
    server.close()
    for connection in tuple(connections):
        connection.transport.abort()
    # One turn of the loop, in which the aborted connections are told.
    await asyncio.sleep(0)


def _read_stdin(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        over.set()


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _write_log(path: Path, truths: list[truth_log.Truth]) -> None:
    try:
        with path.open("wb") as file:
            file.writelines(truth_log.lines(truths))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; give another --log") from error
