"""A server and a client for each test, and a local server to stand behind a pod."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.kube.api_server import ApiServer
from tests.kube.connection import connect

Start = Callable[..., ApiServer]


@pytest.fixture
def server(api_server: Start) -> ApiServer:
    return api_server()


@pytest.fixture
def api(server: ApiServer, tmp_path: Path) -> Iterator[client.ApiClient]:
    with connect(server, tmp_path) as connected:
        yield connected


@pytest.fixture
def custom(api: client.ApiClient) -> Any:
    return client.CustomObjectsApi(api)


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
