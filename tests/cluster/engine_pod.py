"""A real engine behind a scripted pod: the container's own command, run on this machine."""

import os
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from runners.targets.local import pick_port
from tests.cluster.conftest import Playground
from tests.kube.timeline import Step

PROVIDED = "/mnt/models"


@dataclass
class EnginePod:
    """Starts the engine when the pod's container runs, probes it, ends it with the pod.

    Of the rendered command only interpreter, model path and port are replaced; `command` is
    what was run, `container` what was rendered. Probes are the rendered ones, asked oftener.
    """

    playground: Playground
    service: str
    python: Path
    model: Path
    log: Path
    port: int = 0
    container: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.port or pick_port(None)
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.playground.cluster.bind(self.service, f"http://127.0.0.1:{self.port}")

    def __enter__(self) -> "EnginePod":
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()
        self._end()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            pods = self.playground.server.all("pods", "bench")
            running = [pod for pod in pods if self._runs(pod)]
            if running and self._process is None:
                self._start(running[0])
            elif running:
                self._tell_log()
                self._probe(running[0])
            elif self._process is not None:
                self._end()

    @staticmethod
    def _runs(pod: dict[str, Any]) -> bool:
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        return any("running" in each["state"] for each in statuses)

    def _start(self, pod: dict[str, Any]) -> None:
        self.container = pod["spec"]["containers"][0]
        rendered = [*self.container["command"], *self.container["args"]]
        port = str(self.container["ports"][0]["containerPort"])
        replaced = {rendered[0]: str(self.python), PROVIDED: str(self.model), port: str(self.port)}
        self.command = [replaced.get(word, word) for word in rendered]
        own = {each["name"]: each["value"] for each in self.container["env"]}
        place = {"HF_HUB_OFFLINE": "1", "VLLM_HOST_IP": "127.0.0.1"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **own, **place},
                start_new_session=True,
            )

    def _tell_log(self) -> None:
        lines = self.log.read_text(errors="replace").splitlines()
        new, self._told = lines[self._told :], len(lines)
        for line in new:
            self.playground.cluster.do(Step(0, "log", text=line), self.service)

    def _probe(self, pod: dict[str, Any]) -> None:
        status = pod["status"]["containerStatuses"][0]
        if status["ready"]:
            return
        for probe in ("startupProbe", "readinessProbe"):
            path = self.container[probe]["httpGet"]["path"]
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
                if answer.status_code == 200:
                    self.probed.append(probe)
                    continue
            return
        self._tell_log()
        self.playground.cluster.do(Step(0, "ready"), self.service)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
