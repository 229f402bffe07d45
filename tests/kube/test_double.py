"""The API server double against the real client: what the client may rely on elsewhere."""

import copy
import http.client
import json
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, dynamic, watch
from kubernetes.client.exceptions import ApiException

from tests.kube.api_server import ApiServer
from tests.kube.connection import (
    APPLY,
    KIND,
    SERVICE,
    apply,
    connect,
    core_of,
    refusal,
    service,
    untyped,
)

Object = dict[str, Any]
Start = Callable[..., ApiServer]


def test_discovery_leads_the_dynamic_client(
    server: ApiServer, api: client.ApiClient, tmp_path: Path
) -> None:
    apply(api, service())
    found = untyped(dynamic.DynamicClient)(api, cache_file=str(tmp_path / "discovery.json"))
    kind = found.resources.get(api_version="serving.kserve.io/v1beta1", kind="InferenceService")
    assert kind.get(name="demo", namespace="bench").spec.predictor.minReplicas == 1
    assert untyped(client.VersionApi(api)).get_code().git_version.startswith("v1.")
    groups = {each.name for each in untyped(client.ApisApi(api)).get_api_versions().groups}
    assert {"apps", "batch", "serving.kserve.io", "authorization.k8s.io"} <= groups
    name = "servingruntimes.serving.kserve.io"
    definition = untyped(client.CustomObjectsApi(api)).get_cluster_custom_object(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", name
    )
    assert [each["name"] for each in definition["spec"]["versions"]] == ["v1alpha1"]


def test_without_kserve_its_kinds_are_not_served(api_server: Start, tmp_path: Path) -> None:
    with connect(api_server(kserve=None), tmp_path) as api:
        custom = client.CustomObjectsApi(api)
        code, said = refusal(lambda: custom.list_namespaced_custom_object(*KIND))
    assert (code, "could not find the requested resource" in said) == (404, True)


def test_strict_validation(api: client.ApiClient, custom: Any) -> None:
    unknown = service(minReplica=1)

    def create(item: Object, **options: Any) -> Any:
        return custom.create_namespaced_custom_object(*KIND, item, **options)

    code, said = refusal(lambda: create(unknown, field_validation="Strict"))
    assert code == 400
    assert 'strict decoding error: unknown field \\"spec.predictor.minReplica\\"' in said
    code, said = refusal(lambda: apply(api, unknown))
    assert (code, ".spec.predictor.minReplica: field not declared in schema" in said) == (500, True)
    bad = service()
    bad["spec"]["predictor"]["model"]["resources"] = {"limits": {"memory": "64GB"}}
    code, said = refusal(lambda: create(bad))
    assert code == 422
    assert (
        'is invalid: spec.predictor.model.resources.limits.memory: Invalid value: \\"64GB' in said
    )
    twice = service()
    twice["spec"]["predictor"]["model"]["env"] *= 2
    code, said = refusal(lambda: create(twice))
    assert (code, "Duplicate value" in said) == (422, True)
    code, said = refusal(lambda: apply(api, twice))
    assert (code, '.env: duplicate entries for key [name=\\"A\\"]' in said) == (500, True)
    bad_type = service(minReplicas="two")
    code, said = refusal(lambda: create(bad_type))
    assert (code, "must be of type integer" in said) == (422, True)
    _, _, headers = custom.create_namespaced_custom_object_with_http_info(
        *KIND, unknown, field_validation="Warn", _return_http_data_only=False
    )
    assert "unknown field" in headers["Warning"]
    kept = custom.get_namespaced_custom_object(*KIND, "demo")
    assert "minReplica" not in kept["spec"]["predictor"]


def post(server: ApiServer, path: str, body: Object) -> tuple[int, str]:
    """(code, body): what the client's own models would not let through."""
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_core_kinds_are_validated_too(api: client.ApiClient, server: ApiServer) -> None:
    core = core_of(api)
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": 1}}
    path = "/api/v1/namespaces/bench/services"
    code, said = post(server, f"{path}?fieldValidation=Strict", bad)
    assert (code, 'unknown field \\"spec.prots\\"' in said) == (400, True)
    code, said = refusal(lambda: core.read_namespaced_service("x", "bench"))
    assert (code, 'services \\"x\\" not found' in said) == (404, True)
    code, said = refusal(
        lambda: core.create_namespaced_config_map("nowhere", {"metadata": {"name": "x"}} | HEAD)
    )
    assert (code, 'namespaces \\"nowhere\\" not found' in said) == (404, True)


HEAD = {"apiVersion": "v1", "kind": "ConfigMap"}


def test_a_dry_run_leaves_nothing(api: client.ApiClient, custom: Any) -> None:
    custom.patch_namespaced_custom_object(
        *KIND, "demo", service(), field_manager="ours", dry_run="All", _content_type=APPLY
    )
    assert custom.list_namespaced_custom_object(*KIND)["items"] == []


def test_apply_owns_gives_up_and_conflicts(api: client.ApiClient) -> None:
    first = apply(api, service())
    again = apply(api, service())
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    code, said = refusal(lambda: apply(api, service(minReplicas=3), "theirs"))
    assert code == 409
    assert 'Apply failed with 1 conflict: conflict with \\"ours\\": .spec.predictor.minRe' in said
    forced = apply(api, service(minReplicas=3), "theirs", force=True)
    assert (forced["spec"]["predictor"]["minReplicas"], forced["metadata"]["generation"]) == (3, 2)
    managers = {each["manager"]: each["fieldsV1"] for each in forced["metadata"]["managedFields"]}
    assert "f:minReplicas" not in managers["ours"]["f:spec"]["f:predictor"]
    assert "f:minReplicas" in managers["theirs"]["f:spec"]["f:predictor"]
    bare = service()
    del bare["metadata"]["labels"]
    bare["spec"]["predictor"]["model"]["env"] = []
    left = apply(api, bare, "theirs", force=True)
    assert left["metadata"]["labels"] == {"team": "a"}  # ours still applies it
    del bare["spec"]["predictor"]["minReplicas"]
    gone = apply(api, bare, "ours")
    assert "labels" not in gone["metadata"]
    assert gone["spec"]["predictor"]["minReplicas"] == 1  # theirs still applies it
    assert gone["spec"]["predictor"]["model"]["env"] == []


def environment(item: Object) -> list[str]:
    return [each["name"] for each in item["spec"]["predictor"]["model"]["env"]]


def test_managers_share_a_keyed_list_and_an_update_takes_over(
    api: client.ApiClient, custom: Any
) -> None:
    apply(api, service())
    theirs = service()
    theirs["spec"]["predictor"] = {"model": {**FORMAT, "env": [{"name": "B", "value": "2"}]}}
    assert environment(apply(api, theirs, "theirs")) == ["A", "B"]
    less = service()
    del less["spec"]["predictor"]["model"]["env"]
    left = apply(api, less)
    assert environment(left) == ["B"]
    left["spec"]["predictor"]["minReplicas"] = 5
    custom.replace_namespaced_custom_object(*KIND, "demo", left, field_manager="kubectl-edit")
    code, said = refusal(lambda: apply(api, service()))
    assert code == 409
    assert 'conflict with \\"kubectl-edit\\" using serving.kserve.io/v1beta1 at ' in said


FORMAT = {"modelFormat": {"name": "vLLM"}}


def test_core_kinds_take_strategic_patches(api: client.ApiClient, server: ApiServer) -> None:
    containers = [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "d", "namespace": "bench"}
    server.add({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    apps = untyped(client.AppsV1Api(api))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "2"}]}}}}
    apps.patch_namespaced_deployment("d", "bench", change)
    found = apps.read_namespaced_deployment("d", "bench")
    images = {each.name: each.image for each in found.spec.template.spec.containers}
    assert (images, found.spec.replicas) == ({"a": "1", "b": "2"}, 1)
    assert found.metadata.generation == 2


def test_replace_patch_and_status(api: client.ApiClient, custom: Any) -> None:
    old = apply(api, service())
    custom.patch_namespaced_custom_object(
        *KIND, "demo", {"metadata": {"annotations": {"a": "1"}}}, _content_type=MERGE
    )
    code, said = refusal(lambda: custom.replace_namespaced_custom_object(*KIND, "demo", old))
    assert (code, "the object has been modified" in said) == (409, True)
    fresh = custom.get_namespaced_custom_object(*KIND, "demo")
    assert fresh["metadata"]["generation"] == 1
    status = {"status": {"url": "http://demo.example.com"}, "spec": {"predictor": {}}}
    custom.patch_namespaced_custom_object_status(*KIND, "demo", status, _content_type=MERGE)
    found = custom.get_namespaced_custom_object(*KIND, "demo")
    assert found["status"] == {"url": "http://demo.example.com"}
    assert found["spec"] == fresh["spec"]
    custom.replace_namespaced_custom_object(*KIND, "demo", found)
    code, _ = refusal(lambda: custom.create_namespaced_custom_object(*KIND, service()))
    assert code == 409


MERGE = "application/merge-patch+json"


def test_lists_select_and_page(api: client.ApiClient, server: ApiServer) -> None:
    core = core_of(api)
    for index in range(5):
        labels = {"odd": str(index % 2)}
        server.add(
            {**HEAD, "metadata": {"name": f"c{index}", "namespace": "bench"} | {"labels": labels}}
        )
    odd = core.list_namespaced_config_map("bench", label_selector="odd in (1),odd")
    assert [each.metadata.name for each in odd.items] == ["c1", "c3"]
    one = core.list_namespaced_config_map("bench", field_selector="metadata.name=c2")
    assert [each.metadata.name for each in one.items] == ["c2"]
    page = core.list_namespaced_config_map("bench", limit=2)
    server.add({**HEAD, "metadata": {"name": "c00", "namespace": "bench"}})
    seen = [each.metadata.name for each in page.items]
    while page.metadata._continue:
        page = core.list_namespaced_config_map("bench", limit=2, _continue=page.metadata._continue)
        seen += [each.metadata.name for each in page.items]
    assert seen == ["c0", "c1", "c2", "c3", "c4"]  # as it was at the first page
    token = core.list_namespaced_config_map("bench", limit=2).metadata._continue
    server.expire_watches()
    code, said = refusal(lambda: core.list_namespaced_config_map("bench", limit=2, _continue=token))
    assert (code, "continue parameter is too old" in said) == (410, True)


def events_of(custom: Any, **options: Any) -> Generator[Object]:
    stream_of = untyped(watch.Watch)().stream(
        custom.list_namespaced_custom_object, *KIND, **options
    )
    yield from stream_of


def test_watch_follows_selection_and_ends(
    api: client.ApiClient, custom: Any, server: ApiServer
) -> None:
    server.bookmark_every_s = 0.01
    apply(api, service())
    version = custom.list_namespaced_custom_object(*KIND)["metadata"]["resourceVersion"]
    moved = service()
    moved["metadata"]["labels"] = {"team": "b"}
    apply(api, moved)
    apply(api, service("other"))
    apply(api, service())
    custom.delete_namespaced_custom_object(*KIND, "demo")
    running = events_of(
        custom,
        resource_version=version,
        label_selector="team=a",
        allow_watch_bookmarks=True,
        timeout_seconds=1,
    )
    seen = [(each["type"], each["raw_object"]["metadata"].get("name")) for each in running]
    assert [each for each in seen if each[0] != "BOOKMARK"] == [
        ("DELETED", "demo"),
        ("ADDED", "other"),
        ("ADDED", "demo"),
        ("DELETED", "demo"),
    ]
    assert ("BOOKMARK", None) in seen


@pytest.mark.parametrize("refuse", [False, True])
def test_expired_watch(custom: Any, server: ApiServer, refuse: bool) -> None:
    version = custom.list_namespaced_custom_object(*KIND)["metadata"]["resourceVersion"]
    server.expire_watches(refuse=refuse)
    with pytest.raises(ApiException) as expired:
        list(events_of(custom, resource_version=version, timeout_seconds=5))
    assert expired.value.status == 410
    fresh = custom.list_namespaced_custom_object(*KIND)["metadata"]["resourceVersion"]
    custom.create_namespaced_custom_object(*KIND, service())
    with closing(events_of(custom, resource_version=fresh, timeout_seconds=5)) as running:
        assert next(running)["type"] == "ADDED"


def test_an_open_watch_expires(api: client.ApiClient, custom: Any, server: ApiServer) -> None:
    apply(api, service())
    running = events_of(custom, timeout_seconds=30)
    assert next(running)["type"] == "ADDED"
    server.expire_watches()
    with pytest.raises(ApiException, match="too old resource version"):
        next(running)


def test_foreground_deletion_waits_for_dependents(
    api: client.ApiClient, custom: Any, server: ApiServer
) -> None:
    owner = apply(api, service())["metadata"]
    reference = {
        "apiVersion": SERVICE["apiVersion"],
        "kind": "InferenceService",
        "name": "demo",
        "uid": owner["uid"],
        "blockOwnerDeletion": True,
    }
    held = {"name": "held", "namespace": "bench", "finalizers": ["example.com/hold"]}
    server.add({**HEAD, "metadata": {**held, "ownerReferences": [reference]}})
    gone = custom.delete_namespaced_custom_object(*KIND, "demo", propagation_policy="Foreground")
    assert gone["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert gone["metadata"]["deletionTimestamp"]
    core = core_of(api)
    patch = {"metadata": {"finalizers": None}}
    core.patch_namespaced_config_map("held", "bench", patch, _content_type=MERGE)
    assert server.find("configmaps", "held") is None
    assert server.find("inferenceservices.serving.kserve.io", "demo") is None


def test_background_deletion_cascades_and_jobs_orphan(
    api: client.ApiClient, server: ApiServer
) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "load", "namespace": "bench"},
        "spec": {"template": {"spec": {"containers": [], "restartPolicy": "Never"}}},
    }
    batch = untyped(client.BatchV1Api(api))
    for policy, left in ((None, 1), ("Background", 0)):
        made = server.add(copy.deepcopy(job))
        uid = made["metadata"]["uid"]
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": "load", "uid": uid}
        metadata = {"name": "load-0", "namespace": "bench", "ownerReferences": [reference]}
        server.add({**HEAD, "metadata": metadata})
        options = {"propagation_policy": policy} if policy else {}
        batch.delete_namespaced_job("load", "bench", **options)
        assert len(server.all("configmaps", "bench")) == left
        for each in server.all("configmaps", "bench"):
            core_of(api).delete_namespaced_config_map(each["metadata"]["name"], "bench")
