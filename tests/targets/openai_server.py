"""A small OpenAI-compatible server in a thread, as good or bad as a test wants it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METRICS = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0.0\n"


@dataclass
class Behaviour:
    """What the server does; `asked` collects paths with the Authorization header sent."""

    models: list[str] = field(default_factory=lambda: ["tiny"])
    owned_by: str = "vllm"
    key: str | None = None
    models_status: int = 200
    models_body: str | None = None
    version: str | None = "0.32.0"
    metrics: bool = True
    answer_status: int = 200
    answers: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def reply(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        if path == "/v1/models":
            listed = {"data": [{"id": name, "owned_by": self.owned_by} for name in self.models]}
            return self.models_status, "application/json", self.models_body or json.dumps(listed)
        if path == "/version" and self.version:
            return 200, "application/json", json.dumps({"version": self.version})
        if path == "/metrics" and self.metrics:
            return 200, "text/plain; version=0.0.4", METRICS
        if path in ("/v1/chat/completions", "/v1/completions"):
            body: dict[str, Any] = {"choices": [{"text": "a"}]}
            if self.answer_status != 200:
                body = {"error": {"message": "max_tokens is too large"}}
            return self.answer_status, "application/json", json.dumps(body)
        return 404, "text/html", "<h1>not here</h1>"


def _handler(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization")
            behaviour.asked.append((self.path, authorization))
            if behaviour.key and authorization != f"Bearer {behaviour.key}":
                self._send(401, "application/json", '{"error": {"message": "no"}}')
            else:
                self._send(*behaviour.reply(self.path))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if not behaviour.answers:
                behaviour.closing.wait(30)
            self.do_GET()

        def _send(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gave up is what some tests are about


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[int]:
    """Run the server; yields its port on 127.0.0.1."""
    server = _Server(("127.0.0.1", 0), _handler(behaviour))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        behaviour.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
