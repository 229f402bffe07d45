"""What several rooms of tests share."""

import os
import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["tests.kube.fixtures", "tests.simulator.fixtures"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Third-party files that are used in tests but not kept in the project.

    Without them a test is skipped; with REQUIRE_SHARED=1 it fails instead, so that an
    automatic run cannot lose these tests in silence.
    """
    shared = ROOT.parent / "shared"
    if not shared.is_dir():
        reason = "the folder ../shared with third-party test files is not here"
        if os.environ.get("REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return shared


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """A Python that has vLLM, as target local finds it; made (minutes) when there is none."""
    from runners.engines.environment import find_engine
    from runners.progress import Progress

    return find_engine(Progress()).path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of a server called localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key
