"""What the command line says about a cluster."""

import json

import pytest
import yaml

from runners.cli.main import main
from tests.cluster.conftest import MakeCluster
from tests.kube import stories


def test_server_dry_run_creates_nothing(
    make_cluster: MakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    playground = make_cluster(stories.FAST)
    code = main(["--profile", "standard", "--service", "demo-llm", "--server-dry-run"])
    printed = capsys.readouterr().out
    assert code == 0
    kinds = [each["kind"] for each in yaml.safe_load_all(printed)]
    assert kinds == ["ServingRuntime", "InferenceService"]
    assert "nothing was created" in printed
    dry = [path for verb, path in playground.server.requests if verb == "PATCH"]
    assert len(dry) == 2 and all("dryRun=All" in path for path in dry)
    assert playground.left() == []


def test_preflight_shows_what_is_wrong_and_ends_with_4(
    make_cluster: MakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    playground = make_cluster(stories.FAST)
    playground.server.access.deny("inferenceservices", "create")
    assert main(["preflight", "--profile", "standard", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    (failed,) = [check for check in told["checks"] if check["status"] == "failed"]
    assert "may not create inferenceservices.serving.kserve.io" in failed["text"]
    assert main(["preflight", "--profile", "standard"]) == 4
    assert "may not create inferenceservices" in " ".join(capsys.readouterr().out.split())


def test_without_a_cluster_a_run_ends_with_one_line_and_4(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    assert main(["--profile", "standard", "--out", f"{tmp_path}/runs", "--quiet"]) == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--target local" in line and "--url URL" in line and "--dry-run" in line
