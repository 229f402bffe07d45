"""A load worker on another machine than the coordinator (docs/distributed-load.md).

    KSERVE_BENCH_WORKER_TOKEN=… python -m runners.load.remote --listen 0.0.0.0:8790

It waits for a coordinator, drives the share of the load that it is given, hands its
records over, and waits for the next. It takes orders from nobody who does not know the
token, and none but a load worker's spec: no code, and no path outside of a temporary
folder of its own. API keys come from its own environment.
"""

import argparse
import os
import select
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType

from runners.errors import Exit
from runners.load.remote_orders import Folder
from runners.load.remote_session import serve
from runners.load.remote_wire import (
    Gone,
    Link,
    Refused,
    ToldToEnd,
    admit,
    split_address,
    token_from_environment,
)


def main() -> int:
    options = _parser().parse_args()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)

    def end(signum: int, frame: FrameType | None) -> None:
        os.write(waker, b".")

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        token = token_from_environment()
        expected = _place(options.index, options.count)
        listener = _listen(options.listen)
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return Exit.USAGE
    host, port = listener.getsockname()[:2]
    print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
    with listener:
        while True:
            if wake in select.select([listener.fileno(), wake], [], [])[0]:
                return Exit.DONE
            served = _next_coordinator(listener, token, expected, wake)
            if options.once and served is not None:
                return Exit.DONE if served else Exit.TARGET


def _next_coordinator(
    listener: socket.socket, token: str, expected: tuple[int, int] | None, wake: int
) -> bool | None:
    """Whether one run went to its end; None for somebody who was no coordinator."""
    try:
        sock, address = listener.accept()
    except OSError:  # it has gone again
        return None
    link = Link(sock, wake)
    try:
        try:
            admit(link, token)
        except (Gone, Refused) as error:
            _say(address[0], f"not admitted: {error}")
            return None
        return _serve(link, expected, str(address[0]))
    except ToldToEnd:
        _say(address[0], "stopped: told to end")
        return False
    finally:
        link.close()


def _serve(link: Link, expected: tuple[int, int] | None, who: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="kserve-bench-worker-") as place:
        try:
            serve(link, Folder(Path(place)), expected)
        except Gone as error:
            _say(who, f"the coordinator has gone: {error}; the load was stopped")
            return False
        except Refused as error:
            _say(who, f"refused: {error}")
            return False
        _say(who, "served")
        return True


def _say(who: str, what: str) -> None:
    print(f"{who}: {what}", file=sys.stderr, flush=True)


def _listen(text: str) -> socket.socket:
    """A listening socket; raises Refused. An empty host is every address."""
    host, port = split_address(text)
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Refused(f"cannot listen on {text}: {error.strerror or error}") from None


def _place(index: int | None, count: int | None) -> tuple[int, int] | None:
    """Which worker of how many this one is; in an Indexed Job Kubernetes says the index."""
    if count is None:
        if index is not None:
            raise Refused("--index goes with --count")
        return None
    told = os.environ.get("JOB_COMPLETION_INDEX", "")
    if index is None and told.isdecimal():
        index = int(told)
    if index is None or not 0 <= index < count:
        raise Refused(f"--count {count} needs an --index from 0 to {count - 1}")
    return index, count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runners.load.remote",
        description="A load worker that waits for a coordinator on another machine.",
    )
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="where to wait")
    parser.add_argument("--index", type=int, help="which worker this is; refuse orders for another")
    parser.add_argument("--count", type=int, help="how many workers there are")
    parser.add_argument("--once", action="store_true", help="end after one coordinator")
    return parser


if __name__ == "__main__":
    sys.exit(main())
