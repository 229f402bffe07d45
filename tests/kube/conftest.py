"""A local server behind a pod, for tests of the ways that lead to one."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Echo(BaseHTTPRequestHandler):
    """Answers with its own path, a megabyte for /large."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"x" * 1_000_000 if self.path == "/large" else self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()
