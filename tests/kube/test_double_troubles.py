"""Rights, faults, logs and port-forwards of the double, as the real client meets them."""

import http.client
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, stream, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.kube.api_server import ApiServer
from tests.kube.auth import Rule
from tests.kube.connection import apply, connect, core_of, refusal, service, untyped

Object = dict[str, Any]
Start = Callable[..., ApiServer]
HEAD = {"apiVersion": "v1", "kind": "ConfigMap"}


def test_rights_are_denied_and_reviewed(api: client.ApiClient, server: ApiServer) -> None:
    server.access.deny("pods/log", "get")
    server.access.deny("inferenceservices", "create", "patch", namespace="bench")
    code, said = refusal(lambda: apply(api, service()))
    assert code == 403
    assert 'cannot patch resource \\"inferenceservices\\" in API group' in said
    assert 'in the namespace \\"bench\\"' in said
    ask = {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "bench"}
    review = untyped(client.AuthorizationV1Api(api)).create_self_subject_access_review(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": ask},
        }
    )
    assert review.status.allowed is False
    server.access.allow_only(Rule(("list",), ("pods",), ("",), "bench"))
    assert core_of(api).list_namespaced_pod("bench").items == []
    code, said = refusal(lambda: core_of(api).list_node())
    assert (code, "at the cluster scope" in said) == (403, True)


def test_an_expired_token_is_401(api: client.ApiClient, server: ApiServer, tmp_path: Path) -> None:
    server.revoke_token()
    code, said = refusal(lambda: core_of(api).list_namespaced_pod("bench"))
    assert (code, "Unauthorized" in said) == (401, True)
    server.renew_token()
    with connect(server, tmp_path) as renewed:
        assert core_of(renewed).list_namespaced_pod("bench").items == []


def test_faults(api: client.ApiClient, server: ApiServer) -> None:
    core = core_of(api)
    server.faults.throttle(retry_after_s=2)
    with pytest.raises(ApiException) as refused:
        core.list_namespaced_pod("bench")
    assert (refused.value.status, dict(refused.value.headers or {})["Retry-After"]) == (429, "2")
    server.faults.fail(2, verb="list", resource="pods")
    codes = [refusal(lambda: core.list_namespaced_pod("bench"))[0] for _ in range(2)]
    assert codes == [500, 500]
    server.faults.reset()
    with pytest.raises(HTTPError):
        core.list_namespaced_pod("bench")
    server.faults.reset(handled=True, verb="create")
    with pytest.raises(HTTPError):
        core.create_namespaced_config_map("bench", {**HEAD, "metadata": {"name": "made"}})
    assert core.read_namespaced_config_map("made", "bench").metadata.name == "made"


def test_an_outage_on_the_same_port(api: client.ApiClient, server: ApiServer) -> None:
    core = core_of(api)
    running = untyped(watch.Watch)().stream(core.list_namespace, timeout_seconds=30)
    next(running)
    server.go_away()
    with pytest.raises(HTTPError):
        list(running)
    with pytest.raises(HTTPError):
        core.list_namespace()
    server.come_back()
    assert {each.metadata.name for each in core.list_namespace().items} >= {"bench", "default"}


def pod(server: ApiServer, *, containers: tuple[str, ...] = ("main",)) -> None:
    spec = {"nodeName": "n", "containers": [{"name": each, "image": "i"} for each in containers]}
    metadata = {"name": "p", "namespace": "bench"}
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    server.add({**head, "spec": spec, "status": {"phase": "Running"}})


def test_logs(api: client.ApiClient, server: ApiServer) -> None:
    core = core_of(api)
    pod(server, containers=("main", "side"))
    server.logs.append("bench", "p", "main", "one", "two", "three")
    tail = core.read_namespaced_pod_log("p", "bench", container="main", tail_lines=2)
    assert tail == "two\nthree\n"
    code, said = refusal(lambda: core.read_namespaced_pod_log("p", "bench"))
    assert (code, "choose one of: [main side]" in said) == (400, True)
    server.logs.restart("bench", "p", "main")
    before = core.read_namespaced_pod_log("p", "bench", container="main", previous=True)
    assert before.startswith("one\n")
    lines = untyped(watch.Watch)().stream(
        core.read_namespaced_pod_log, "p", "bench", container="main"
    )
    server.logs.append("bench", "p", "main", "again")
    assert next(lines) == "again"
    server.logs.end("bench", "p", "main")
    assert list(lines) == []


def test_port_forward(api: client.ApiClient, server: ApiServer, echo: int) -> None:
    pod(server)
    server.forwards["bench", "p", 8080] = ("127.0.0.1", echo)
    core = core_of(api)
    forwarded = untyped(stream.portforward)(
        core.connect_get_namespaced_pod_portforward, "p", "bench", ports="8080"
    )
    with closing(http.client.HTTPConnection("127.0.0.1")) as connection:
        connection.sock = forwarded.socket(8080)
        for path, size in (("/one", 4), ("/large", 1_000_000)):
            connection.request("GET", path)
            assert len(connection.getresponse().read()) == size
    nobody = untyped(stream.portforward)(
        core.connect_get_namespaced_pod_portforward, "p", "bench", ports="9"
    )
    assert nobody.socket(9).recv(10) == b""
    assert "connection refused" in nobody.error(9)
    nobody.close()


def test_resets_and_outages_over_tls(
    api_server: Start, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    server = api_server(certificate=certificate)
    with connect(server, tmp_path) as api:
        core = core_of(api)
        server.faults.reset()
        with pytest.raises(HTTPError):
            core.list_namespace()
        running = untyped(watch.Watch)().stream(core.list_namespace, timeout_seconds=30)
        next(running)
        server.go_away()
        with pytest.raises(HTTPError):
            list(running)
        server.come_back()
        assert core.list_namespace().items
