"""The simulator for any test: `simulator(ttft_ms=20, fault="drop:3") -> Running`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.simulator.process import Running, start


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start simulators that end with the test.

    Keywords: the names in `runners.simulator.settings.Behaviour`, and model, seed,
    api_key_env. The result has base_url, model, truth_path (after stop()) and stop().
    """
    started: list[Running] = []

    def start_one(
        *,
        model: str = "simulated",
        seed: int = 0,
        api_key_env: str | None = None,
        **behaviour: object,
    ) -> Running:
        place = tmp_path / f"simulator-{len(started)}"
        place.mkdir()
        running = start(
            behaviour,
            place / "truth.jsonl",
            place / "stderr.log",
            model=model,
            seed=seed,
            api_key_env=api_key_env,
        )
        started.append(running)
        return running

    yield start_one
    for running in started:
        running.stop()
