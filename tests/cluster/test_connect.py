"""The cluster is found as kubectl finds it; where there is none, one line says what to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runners.cluster.api import listed
from runners.cluster.connect import connect
from runners.errors import TargetError, UsageError
from tests.cluster.conftest import MakeCluster
from tests.kube import stories
from tests.kube.api_server import ApiServer

StartServer = Callable[..., ApiServer]


def kubeconfig(path: Path, name: str, server: str, user: dict[str, Any], current: bool) -> Path:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}
        ],
    }
    if current:
        document["current-context"] = name
    path.write_text(yaml.safe_dump(document))
    return path


def test_no_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(TargetError, match=r"--target local .*--url URL .*--dry-run"):
        connect()


def test_of_several_files_the_first_says_what_is_current(
    api_server: StartServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = api_server()
    user = {"token": server.token}
    files = [
        kubeconfig(tmp_path / "a", "a", "http://127.0.0.1:1", user, False),
        kubeconfig(tmp_path / "b", "b", server.url, user, True),
        kubeconfig(tmp_path / "c", "c", "http://127.0.0.1:1", user, True),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, [tmp_path / "gone", *files])))
    connection = connect()
    assert (connection.context, connection.namespace) == ("b", "ns-b")
    connection.close()
    with pytest.raises(TargetError, match=r"cannot reach .*127.0.0.1:1 \(context c\): .*refused"):
        connect("c")
    with pytest.raises(UsageError, match=r"--context d: .*there is a, b, c"):
        connect("d")


def test_refusals_are_one_line(make_cluster: MakeCluster) -> None:
    playground = make_cluster(stories.FAST)
    server = playground.server
    server.revoke_token()
    with pytest.raises(TargetError, match=r"context double: .*401 Unauthorized.*log in"):
        connect()
    server.go_away()
    with pytest.raises(TargetError, match="cannot reach the Kubernetes API"):
        connect()


def test_a_certificate_that_is_not_trusted(
    api_server: StartServer,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server = api_server(certificate=certificate)
    path = server.kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(path))
    connection = connect()
    assert listed(connection, "Pod") == []
    connection.close()
    document = yaml.safe_load(path.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority"]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(TargetError, match=r"certificate of https://localhost:\d+ is not trusted"):
        connect()


def test_proxies_as_the_environment_says(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cluster(stories.FAST)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(TargetError, match="cannot reach"):
        connect()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    connect().close()


def test_a_credential_plugin_that_fails(
    api_server: StartServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\necho 'please run: cloud login' >&2\nexit 1\n")
    plugin.chmod(0o755)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    server = api_server()
    path = kubeconfig(tmp_path / "a", "a", server.url, user, True)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(
        TargetError, match=r"plugin of context a gave no credentials: .*cloud login"
    ):
        connect()
    plugin.write_text(
        "#!/bin/sh\n"
        'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        f'"status": {{"token": "{server.token}"}}}}\'\n'
    )
    connect().close()
