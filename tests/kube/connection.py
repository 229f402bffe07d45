"""The real client, as it comes out of a kubeconfig of the double, and what tests ask of it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.kube.api_server import ApiServer

Object = dict[str, Any]
KIND = ("serving.kserve.io", "v1beta1", "bench", "inferenceservices")
APPLY = "application/apply-patch+yaml"
SERVICE: Object = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "demo", "labels": {"team": "a"}},
    "spec": {
        "predictor": {
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "vLLM"},
                "storageUri": "hf://a/b",
                "env": [{"name": "A", "value": "1"}],
            },
        }
    },
}


def connect(server: ApiServer, folder: Path) -> client.ApiClient:
    """A client without urllib3's own retries; to be closed."""
    configuration = client.Configuration()
    path = server.kubeconfig(folder / "kubeconfig")
    untyped(config.load_kube_config)(str(path), client_configuration=configuration)
    configuration.retries = False
    return client.ApiClient(configuration)


def untyped(api: Any) -> Any:
    """The client's models are typed, but it takes plain dictionaries."""
    return api


def service(name: str = "demo", **predictor: Any) -> Object:
    item = copy.deepcopy(SERVICE)
    item["metadata"]["name"] = name
    item["spec"]["predictor"].update(predictor)
    return item


def core_of(api: client.ApiClient) -> Any:
    return client.CoreV1Api(api)


def apply(api: client.ApiClient, item: Object, manager: str = "ours", **options: Any) -> Object:
    name = item["metadata"]["name"]
    custom: Any = client.CustomObjectsApi(api)
    custom.patch_namespaced_custom_object(
        *KIND, name, item, field_manager=manager, _content_type=APPLY, **options
    )
    found: Object = custom.get_namespaced_custom_object(*KIND, name)
    return found


def refusal(action: Callable[[], Any]) -> tuple[int, str]:
    """(code, message) of what the server answered."""
    with pytest.raises(ApiException) as refused:
        action()
    body = refused.value.body or ""
    return int(refused.value.status or 0), str(body)
