"""The API server double for any test: `api_server(kserve="0.20.0") -> ApiServer`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kube.api_server import ApiServer


@pytest.fixture
def api_server(shared_dir: Path) -> Iterator[Callable[..., ApiServer]]:
    """Start servers that validate against KServe's definitions and end with the test.

    Keywords: those of ApiServer.
    """
    with ExitStack() as running:

        def start(**keywords: Any) -> ApiServer:
            known = {"crds": shared_dir / "kserve-crds", **keywords}
            return running.enter_context(ApiServer(**known))

        yield start
