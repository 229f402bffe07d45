"""A DCGM exporter and a Prometheus whose GPUs draw what a test says, at any time."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[str, dict[str, str]], tuple[int, str, str]]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server on this machine; `answer`: (path with query, headers) to (status, type, body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, body = answer(self.path, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def exporter(watts: dict[str, float], pods: dict[str, str] | None = None) -> Answer:
    """GPUs by UUID, each at constant power since ever; pods: of a GPU, in namespace bench."""

    def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        lines = [
            "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy since boot (in mJ).",
            "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter",
        ]
        others = []
        now = time.monotonic()
        for index, (uuid, power) in enumerate(watts.items()):
            pod = (pods or {}).get(uuid, "")
            labels = (
                f'gpu="{index}",UUID="{uuid}",modelName="NVIDIA H100",Hostname="node-1",'
                f'container="{"engine" if pod else ""}",namespace="{"bench" if pod else ""}",'
                f'pod="{pod}"'
            )
            energy = round(now * power * 1e3)
            lines.append(f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{labels}}} {energy}")
            others.append(f"DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{labels}}} 0")
        return 200, "text/plain; version=0.0.4", "\n".join([*lines, *others, ""])

    return answer


def prometheus(
    watts: dict[str, float], labels: dict[str, dict[str, str]], every_s: float = 0.05
) -> Answer:
    """Scrapes exporters on its own grid; labels: of each GPU's series, besides its UUID.

    It knows as much of PromQL as is asked: one selector with a range.
    """

    def answer(path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        asked = parse_qs(urlsplit(path).query)["query"][0]
        found = re.fullmatch(r"\{(.*)\}\[(\d+)(s|m)\]", asked)
        assert found is not None, asked
        matchers = re.findall(r'(\w+)(=~|=|!~)"((?:[^"\\]|\\.)*)"', found[1])
        now, result = time.time(), []
        for uuid, power in watts.items():
            known = {"__name__": "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "UUID": uuid}
            known |= labels.get(uuid, {})  # which may name another metric
            if all(
                bool(re.fullmatch(json.loads(f'"{text}"'), known.get(key, ""))) != (sign == "!~")
                for key, sign, text in matchers
            ):
                first = int((now - 3) / every_s)
                grid = [(first + k) * every_s for k in range(int(3 / every_s) + 1)]
                values = [[t, str(round(t * power * 1e3))] for t in grid if t <= now]
                result.append({"metric": known, "values": values})
        body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return 200, "application/json", json.dumps(body)

    return answer
