"""The real client, as it comes out of a kubeconfig of the double."""

from pathlib import Path
from typing import Any

from kubernetes import client, config

from tests.kube.api_server import ApiServer


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
