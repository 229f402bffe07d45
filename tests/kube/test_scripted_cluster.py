"""The scripted KServe: its scenarios lead where they say, in the shapes that a cluster shows."""

import copy
import http.client
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client, watch

from tests.kube.cluster import Cluster
from tests.kube.connection import apply, connect, refusal, service, untyped
from tests.kube.isvc_status import found_condition
from tests.kube.kserve import LLMS, SERVICES
from tests.kube.scenarios import BY_NAME
from tests.kube.stories import (
    COLD,
    DRAINED_UNDER_LOAD,
    FAST,
    RESTARTED_UNDER_LOAD,
    ROLLED_UNDER_LOAD,
    SCALED_UNDER_LOAD,
    SLOW,
    STUCK_DELETION,
)
from tests.kube.validation import unknown_fields

Object = dict[str, Any]
Start = Callable[..., Cluster]
RUNTIME: Object = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ServingRuntime",
    "metadata": {"name": "bench-vllm", "namespace": "bench"},
    "spec": {
        "supportedModelFormats": [{"name": "vLLM", "version": "1"}],
        "containers": [
            {
                "name": "kserve-container",
                "image": "vllm/vllm-openai:v0.32.0",
                "args": ["--served-model-name={{.Name}}"],
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "startupProbe": {"httpGet": {"path": "/health", "port": 8080}},
                "resources": {"limits": {"memory": "64Gi"}},
            }
        ],
    },
}
SERVICE: Object = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {
        "name": "demo",
        "namespace": "bench",
        "labels": {"networking.kserve.io/visibility": "cluster-local"},
    },
    "spec": {
        "predictor": {
            "minReplicas": 1,
            "maxReplicas": 1,
            "model": {
                "modelFormat": {"name": "vLLM"},
                "runtime": "bench-vllm",
                "storageUri": "hf://Qwen/Qwen2.5-7B-Instruct",
            },
        }
    },
}


def begin(cluster: Cluster) -> None:
    cluster.server.add(copy.deepcopy(RUNTIME))
    cluster.server.add(copy.deepcopy(SERVICE))


def ready(cluster: Cluster) -> str | None:
    found = cluster.server.find(SERVICES, "demo")
    status: str | None = found_condition(found, "Ready").get("status")
    return status


def story(cluster: Cluster) -> str:
    """Everything from which a cause can be read: events, states, conditions and logs."""
    server = cluster.server
    seen = [str(each.get("message")) for each in server.all("events", "bench")]
    for kind in ("pods", "deployments.apps", SERVICES):
        seen += [str((each.get("status"), each["spec"])) for each in server.all(kind, "bench")]
    seen += [line for stream in server.logs.streams("bench") for _, line in stream.lines]
    return "\n".join(seen)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_scenario_leads_where_it_says(name: str, kserve_cluster: Start) -> None:
    scenario = BY_NAME[name]
    expected = scenario.expected
    cluster = kserve_cluster(scenario)
    begin(cluster)
    if expected.ready_s is not None:
        cluster.advance(expected.ready_s - 1)
        assert ready(cluster) != "True"
        cluster.advance(2)
        assert ready(cluster) == "True"
    else:
        cluster.advance((expected.known_s or 0) + 2)
        seen = story(cluster)
        for word in expected.cause if name not in ("no-controller", "deleted-meanwhile") else ():
            assert word in seen
        cluster.advance(900)
        assert ready(cluster) != "True"
    cluster.advance(600)
    reasons = {each["reason"] for each in cluster.server.all("events", "bench")}
    assert set(expected.evidence) <= reasons
    for kind in ("pods", "deployments.apps", "replicasets.apps", "services", "events", SERVICES):
        resource = cluster.server.resource(kind)
        schema = cluster.server.schemas.of(resource, resource.versions[0])
        for item in cluster.server.all(kind):
            assert list(unknown_fields(schema, item)) == []


def test_a_slow_load_passes_the_progress_deadline_and_heals(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(SLOW)
    begin(cluster)
    reasons = []
    for _ in range(125):
        cluster.advance(10)
        found = cluster.server.find(SERVICES, "demo")
        reasons.append(found_condition(found, "PredictorReady").get("reason"))
    assert list(dict.fromkeys(reasons)) == [
        "MinimumReplicasUnavailable",
        "ProgressDeadlineExceeded",
        None,
    ]
    states = cluster.server.find(SERVICES, "demo")
    assert states is not None
    assert states["status"]["modelStatus"]["transitionStatus"] == "UpToDate"


def test_twenty_minutes_pass_while_a_client_watches(kserve_cluster: Start, tmp_path: Path) -> None:
    cluster = kserve_cluster(SLOW)
    with connect(cluster.server, tmp_path) as api:
        custom: Any = client.CustomObjectsApi(api)
        group = ("serving.kserve.io", "v1beta1", "bench", "inferenceservices")
        begin(cluster)
        watcher = untyped(watch.Watch)()
        loading = []
        for event in watcher.stream(
            custom.list_namespaced_custom_object, *group, timeout_seconds=60
        ):
            states = event["object"].get("status", {}).get("modelStatus", {}).get("states", {})
            loading.append(states.get("targetModelState"))
            cluster.run(speed=3000)  # time passes once somebody watches
            if found_condition(event["object"], "Ready").get("status") == "True":
                watcher.stop()
    assert [each for each in dict.fromkeys(loading) if each] == ["Pending", "Loading", "Loaded"]


def test_pods_carry_what_kserve_merges(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(FAST)
    begin(cluster)
    cluster.advance(40)
    (pod,) = cluster.server.all("pods", "bench")
    labels = pod["metadata"]["labels"]
    assert labels["serving.kserve.io/inferenceservice"] == "demo"
    assert (labels["app"], labels["component"]) == ("isvc.demo-predictor", "predictor")
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["--served-model-name=demo"]
    assert pod["spec"]["initContainers"][0]["args"][0] == "hf://Qwen/Qwen2.5-7B-Instruct"
    service = cluster.server.find("services", "demo-predictor")
    assert service is not None
    assert service["spec"]["ports"][0]["targetPort"] == 8080


def test_stop_and_start_again(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(FAST)
    begin(cluster)
    cluster.advance(60)
    for value, pods, state in (("true", 0, "False"), ("false", 1, "True")):
        found = cluster.plane.find(SERVICES, "bench", "demo")
        assert found is not None
        annotated = {**found["metadata"], "annotations": {"serving.kserve.io/stop": value}}
        cluster.plane.change(SERVICES, found, {**found, "metadata": annotated})
        cluster.advance(60)
        assert (len(cluster.server.all("pods", "bench")), ready(cluster)) == (pods, state)


def test_a_changed_service_changes_its_deployment(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(FAST)
    begin(cluster)
    cluster.advance(60)
    found = cluster.plane.find(SERVICES, "bench", "demo")
    assert found is not None
    changed = copy.deepcopy(found)
    changed["spec"]["predictor"].update(minReplicas=3, maxReplicas=3)
    cluster.plane.change(SERVICES, found, changed)
    cluster.advance(10)
    assert len(cluster.server.all("pods", "bench")) == 3
    assert ready(cluster) == "False"
    cluster.advance(60)
    assert ready(cluster) == "True"


def test_webhooks_deny_and_can_be_down(kserve_cluster: Start, tmp_path: Path) -> None:
    cluster = kserve_cluster(FAST)
    with connect(cluster.server, tmp_path) as api:
        code, said = refusal(lambda: apply(api, service(minReplicas=2, maxReplicas=1)))
        assert (code, "MaxReplicas cannot be less than MinReplicas" in said) == (403, True)
        cluster.webhooks.running = False
        code, said = refusal(lambda: apply(api, service(), dry_run="All"))
        assert (code, "failed calling webhook" in said) == (500, True)
        cluster.webhooks.running = True
        assert apply(api, service())["metadata"]["name"] == "demo"


@pytest.mark.parametrize("policy", ["Foreground", "Background"])
def test_deletion_leaves_nothing(kserve_cluster: Start, policy: str, tmp_path: Path) -> None:
    cluster = kserve_cluster(FAST)
    begin(cluster)
    cluster.advance(60)
    group = ("serving.kserve.io", "v1beta1", "bench", "inferenceservices")
    with connect(cluster.server, tmp_path) as api:
        custom: Any = client.CustomObjectsApi(api)
        custom.delete_namespaced_custom_object(*group, "demo", propagation_policy=policy)
    assert cluster.server.all("pods", "bench") != []
    cluster.advance(10)
    for kind in ("pods", "services", "deployments.apps", "replicasets.apps", SERVICES):
        assert cluster.server.all(kind, "bench") == []


def test_deletion_sticks_without_the_controller(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(STUCK_DELETION)
    begin(cluster)
    cluster.advance(70)
    found = cluster.server.find(SERVICES, "demo")
    assert found is not None
    cluster.plane.delete(SERVICES, found)
    cluster.advance(600)
    left = cluster.server.find(SERVICES, "demo")
    assert left is not None and left["metadata"]["finalizers"] == ["inferenceservice.finalizers"]


def restarts(cluster: Cluster) -> list[int]:
    pods = cluster.server.all("pods", "bench")
    return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods]


def test_what_happens_under_load(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(RESTARTED_UNDER_LOAD)
    begin(cluster)
    cluster.advance(150)
    assert (ready(cluster), restarts(cluster)) == ("False", [1])
    cluster.advance(60)
    assert (ready(cluster), restarts(cluster)) == ("True", [1])
    cluster = kserve_cluster(SCALED_UNDER_LOAD)
    begin(cluster)
    cluster.advance(200)
    assert len(cluster.server.all("pods", "bench")) == 2
    for scenario in (ROLLED_UNDER_LOAD, DRAINED_UNDER_LOAD):
        cluster = kserve_cluster(scenario)
        begin(cluster)
        cluster.advance(80)
        (before,) = cluster.server.all("pods", "bench")
        cluster.advance(20)
        serving = scenario is ROLLED_UNDER_LOAD  # the old pod stays until the new one is ready
        assert ready(cluster) == ("True" if serving else "False")
        assert len(cluster.server.all("pods", "bench")) == 1 + serving
        cluster.advance(60)
        (after,) = cluster.server.all("pods", "bench")
        assert before["metadata"]["uid"] != after["metadata"]["uid"]
        assert ready(cluster) == "True"


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_bound_service_is_reached(kserve_cluster: Start, echo: int, kind: str) -> None:
    cluster = kserve_cluster(FAST)
    begin(cluster)
    cluster.bind("demo", f"http://127.0.0.1:{echo}")
    ports = [{"port": 18080, "targetPort": 8080}]
    spec = {"type": kind, "selector": {"app": "isvc.demo-predictor"}, "ports": ports}
    head = {"apiVersion": "v1", "kind": "Service"}
    cluster.server.add({**head, "metadata": {"name": "door", "namespace": "bench"}, "spec": spec})
    cluster.advance(1)
    door = cluster.server.find("services", "door")
    assert door is not None
    address = ("127.0.0.1", door["spec"]["ports"][0]["nodePort"])
    if kind == "LoadBalancer":
        address = (door["status"]["loadBalancer"]["ingress"][0]["ip"], 18080)
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(address)  # no pod is ready yet
    cluster.advance(60)
    assert fetch(address) == b"/v1/models"


def fetch(address: tuple[str, int], host: str | None = None) -> bytes:
    with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
        connection.request("GET", "/v1/models", headers={"Host": host} if host else {})
        return connection.getresponse().read()


def test_an_llm_service_becomes_ready(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(COLD)
    spec = {"model": {"uri": "hf://a/b", "name": "b"}, "replicas": 2, "prefill": {"replicas": 1}}
    cluster.server.add(
        {
            "apiVersion": "serving.kserve.io/v1alpha2",
            "kind": "LLMInferenceService",
            "metadata": {"name": "demo", "namespace": "bench"},
            "spec": spec,
        }
    )
    cluster.advance(100)
    found = cluster.server.find(LLMS, "demo")
    assert found_condition(found, "WorkloadsReady")["status"] == "False"
    cluster.advance(100)
    found = cluster.server.find(LLMS, "demo")
    assert found is not None and found_condition(found, "Ready")["status"] == "True"
    pods = cluster.server.all("pods", "bench")
    assert [pod["spec"]["containers"][0]["name"] for pod in pods] == ["main"] * 3
    assert found["status"]["url"].endswith("demo-kserve-workload-svc.bench.svc.cluster.local:8000")
    cluster.plane.delete(LLMS, found)
    cluster.advance(10)
    assert cluster.server.all("pods", "bench") == []


def knative_service(minimum: int) -> Object:
    service = copy.deepcopy(SERVICE)
    service["metadata"] |= {"annotations": {"serving.kserve.io/deploymentMode": "Knative"}}
    service["metadata"]["labels"] = {}
    service["spec"]["predictor"]["minReplicas"] = minimum
    return service


def test_knative_scales_to_zero_and_a_request_wakes_it(kserve_cluster: Start, echo: int) -> None:
    cluster = kserve_cluster(FAST, extras=("knative", "gateway"))
    cluster.server.add(copy.deepcopy(RUNTIME))
    cluster.server.add(knative_service(0))
    cluster.bind("demo", f"http://127.0.0.1:{echo}")
    door = urlsplit(cluster.open_gateway())
    cluster.advance(40)
    found = cluster.server.find(SERVICES, "demo")
    assert found is not None and found_condition(found, "Ready")["status"] == "True"
    (pod,) = cluster.server.all("pods", "bench")
    assert [each["name"] for each in pod["spec"]["containers"]] == [
        "kserve-container",
        "queue-proxy",
    ]
    cluster.advance(200)
    assert (cluster.server.all("pods", "bench"), ready(cluster)) == ([], "True")
    cluster.run(speed=30)
    address = (str(door.hostname), int(door.port or 0))
    assert fetch(address, "nobody.example.com") == b"no healthy upstream"
    assert fetch(address, "demo-bench.example.com") == b"/v1/models"
    assert len(cluster.server.all("pods", "bench")) == 1


def test_for_knative_the_progress_deadline_is_the_end(kserve_cluster: Start) -> None:
    cluster = kserve_cluster(SLOW, extras=("knative",))
    cluster.server.add(copy.deepcopy(RUNTIME))
    cluster.server.add(knative_service(1))
    cluster.advance(1300)
    found = cluster.server.find(SERVICES, "demo")
    assert found_condition(found, "PredictorReady")["reason"] == "RevisionFailed"
    assert cluster.server.all("pods", "bench") == []
