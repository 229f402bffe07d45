"""A server behind TLS, with a certificate of its own."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.simulator.process import Running

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--requests", "8", "--concurrency", "4", "--max-tokens", "8"]


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def tls_front(
    certificate: tuple[Path, Path], simulator: Callable[..., Running]
) -> Iterator[tuple[str, Path]]:
    """(https URL of a simulator, the certificate to trust)."""
    server = simulator(model="tiny", ttft_ms=10, itl_ms=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(server.base_url.rpartition(":")[2])

    def accept() -> None:
        while True:
            try:
                outside, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(outside,), daemon=True).start()

    def relay(outside: socket.socket) -> None:
        try:
            secure = context.wrap_socket(outside, server_side=True)
        except OSError:
            return
        inside = socket.create_connection(("127.0.0.1", port))
        back = threading.Thread(target=pump, args=(inside, secure), daemon=True)
        back.start()
        pump(secure, inside)
        back.join()
        secure.close()
        inside.close()

    threading.Thread(target=accept, daemon=True).start()
    yield f"https://localhost:{listener.getsockname()[1]}", certificate[0]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def bench(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "runners.cli", "--profile", "cpu-smoke", *FAST]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_trusted_certificate_is_enough(tls_front: tuple[str, Path], tmp_path: Path) -> None:
    url, cert = tls_front
    done = bench("--url", url, "--ca-cert", cert, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("*Z-*")
    results = json.loads((run / "results.json").read_text())
    assert results["requests"]["ok"] == 8
    assert results["metrics"]["ttft_ms"]["p50"]["value"] >= 10
    environment = json.loads((run / "environment.json").read_text())
    assert environment["load"]["arrival_stamp"] == "kernel"
    assert (run / "server.parquet").exists(), "metrics are scraped through TLS too"


def test_making_connections_can_be_measured(tls_front: tuple[str, Path], tmp_path: Path) -> None:
    url, cert = tls_front
    done = bench("--url", url, "--ca-cert", cert, "--cold-connections", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("*Z-*")
    client = json.loads((run / "results.json").read_text())["client"]
    assert client["connect_ms"]["count"] == client["tls_ms"]["count"] == 8
    assert 0 < client["connect_ms"]["p50"] < client["tls_ms"]["p50"]
    assert client["dns_ms"] > 0


def test_an_untrusted_one_is_a_line(tls_front: tuple[str, Path], tmp_path: Path) -> None:
    done = bench("--url", tls_front[0], "--out", tmp_path)
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "certificate" in line and "--ca-cert" in line
