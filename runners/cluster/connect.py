"""From kubeconfig, context or pod to a Connection, as kubectl would find it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from runners.cluster.api import ApiError, Connection, request
from runners.cluster.clock import Clock
from runners.errors import TargetError, UsageError

WAYS_ON = (
    "without one: --target local (a real engine here), --url URL (a running server) "
    "or --dry-run (only the manifests)"
)
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(
    context: str | None = None, namespace: str | None = None, clock: Clock | None = None
) -> Connection:
    """Find the cluster and see that it answers and knows us.

    As kubectl: the files in KUBECONFIG (the first that says something wins), else
    ~/.kube/config; inside of a pod its service account. Proxies come from the kubeconfig's
    proxy-url or from HTTPS_PROXY and NO_PROXY. context, namespace: by default the current.
    Raises UsageError for a context that is not there, TargetError without a usable cluster.
    """
    clock = clock or Clock()
    files = _kubeconfig_files()
    if files:
        connection = _from_kubeconfig(files, context, namespace, clock)
    elif os.environ.get("KUBERNETES_SERVICE_HOST") and (_ACCOUNT / "token").exists():
        connection = _from_pod(namespace, clock)
    else:
        looked = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise TargetError(f"no Kubernetes cluster: there is no kubeconfig ({looked}); {WAYS_ON}")
    try:
        _see_that_it_answers(connection)
    except ApiError as error:
        raise explained(error, connection, "ask for its version") from error
    return connection


def _see_that_it_answers(connection: Connection) -> None:
    """One request that everyone may make who may log in; an expired token shows here."""
    try:
        request(connection, "get", "/version", patience_s=1.0)
    except ApiError as error:
        if error.reason == "unreachable" or not error.may_pass:
            raise
        # It is there and busy.
        request(connection, "get", "/version", patience_s=15.0)


def explained(error: ApiError, connection: Connection, doing: str) -> TargetError:
    """One line for an API failure: what was refused, where, and the way out.

    doing: completes "may not …" and "could not …".
    """
    place, server = connection.place(), connection.server
    if error.reason == "tls":
        return TargetError(
            f"{place}: the certificate of {server} is not trusted ({error.message}); "
            "certificate-authority in the kubeconfig has to belong to this cluster"
        )
    if error.status is None:
        return TargetError(
            f"cannot reach the Kubernetes API at {server} ({place}): {error.message}; "
            f"is the cluster up, the VPN or proxy on? {WAYS_ON}"
        )
    if error.status == 401:
        return TargetError(
            f"{place}: {server} does not accept the credentials (401 Unauthorized); the token has "
            "expired or was revoked: log in to the cluster again"
        )
    if error.status == 403:
        return TargetError(
            f"{place}: may not {doing}: {error.message}; ./bench.sh preflight prints the Role "
            "that is needed"
        )
    return TargetError(
        f"{place}: could not {doing}: {error.message} (HTTP {error.status} {error.reason})"
    )


def _kubeconfig_files() -> list[Path]:
    """Files of the kubeconfig that exist; an empty KUBECONFIG is none."""
    named = os.environ.get("KUBECONFIG")
    paths = named.split(os.pathsep) if named else ["~/.kube/config"]
    return [path for text in paths if text and (path := Path(text).expanduser()).is_file()]


def _from_kubeconfig(
    files: list[Path], context: str | None, namespace: str | None, clock: Clock
) -> Connection:
    where = os.pathsep.join(map(str, files))
    documents = [_document(path) for path in files]
    contexts: dict[str, Any] = {}
    for document in documents:
        for each in document.get("contexts") or ():
            contexts.setdefault(each.get("name"), each.get("context") or {})
    # The client's own merge takes the last file's current-context; kubectl takes the first's.
    current = next((found for doc in documents if (found := doc.get("current-context"))), None)
    chosen = context or current
    if chosen is None:
        raise TargetError(
            f"{where}: no context is current; choose one with --context "
            f"({', '.join(map(str, contexts)) or 'there is none'}); {WAYS_ON}"
        )
    if chosen not in contexts:
        there = ", ".join(map(str, contexts)) or "none"
        raise UsageError(
            f"--context {chosen}: not in {where}; there is {there}"
            if context
            else f"{where}: its current-context {chosen} is not there; choose one with --context"
        )
    configuration = _configuration()
    with _config_errors(where), _plugin_messages() as messages:
        import_module("kubernetes.config").load_kube_config(
            config_file=where,
            context=chosen,
            client_configuration=configuration,
            persist_config=False,
        )
    if messages and not configuration.api_key and not configuration.cert_file:
        raise TargetError(
            f"{where}: the credential plugin of context {chosen} gave no credentials: "
            f"{' '.join(messages[-1].split())[:300]}"
        )
    place = namespace or contexts[chosen].get("namespace") or "default"
    return _connection(configuration, place, chosen, clock)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TargetError(f"kubeconfig {path} cannot be read: {reason}") from error
    if not isinstance(document, dict):
        raise TargetError(f"kubeconfig {path} is empty or not a kubeconfig; {WAYS_ON}")
    return document


def _from_pod(namespace: str | None, clock: Clock) -> Connection:
    configuration = _configuration()
    with _config_errors("the pod's service account"):
        import_module("kubernetes.config").load_incluster_config(configuration)
    here = _ACCOUNT / "namespace"
    place = namespace or (here.read_text().strip() if here.is_file() else "default")
    return _connection(configuration, place, None, clock)


def _configuration() -> Any:
    configuration = import_module("kubernetes.client").Configuration()
    # Retries are ours: urllib3 would repeat some requests at once and others never.
    configuration.retries = False
    configuration.connection_pool_maxsize = 16
    return configuration


def _connection(
    configuration: Any, namespace: str, context: str | None, clock: Clock
) -> Connection:
    api_client = import_module("kubernetes.client").ApiClient(configuration)
    dynamic = import_module("kubernetes.dynamic").DynamicClient
    # Paths are known here, so that nothing has to be discovered (some fifty requests).
    client = dynamic(api_client, discoverer=lambda client, cache: None)
    return Connection(client, configuration.host, namespace, context, clock)


@contextmanager
def _config_errors(where: str) -> Iterator[None]:
    from kubernetes.config.config_exception import ConfigException

    try:
        yield
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TargetError(f"{where} cannot be used: {reason}") from error


@contextmanager
def _plugin_messages() -> Iterator[list[str]]:
    """What the client logs while it loads; it tells failures of credential plugins only so."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler, root = Keep(), logging.getLogger()
    before = root.handlers[:]
    root.handlers = [handler]
    try:
        yield messages
    finally:
        root.handlers = before
