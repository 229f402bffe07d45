"""Requests to the API server through the official client: plain dicts, bounded retries."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runners.cluster.clock import Clock

Object = dict[str, Any]
Query = Sequence[tuple[str, str]]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
# An API server that restarts is back within half a minute; a bad node takes longer.
PATIENCE_S = 60.0
_TIMEOUT_S = 30.0
_CONNECT_S = 10.0
_LONGEST_PAUSE_S = 5.0
_AGAIN = (429, 500, 502, 503, 504)

_API_VERSIONS = {
    "Pod": "v1",
    "Event": "v1",
    "Service": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Namespace": "v1",
    "Node": "v1",
    "ResourceQuota": "v1",
    "ServiceAccount": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "StorageClass": "storage.k8s.io/v1",
    "RuntimeClass": "node.k8s.io/v1",
    "Gateway": "gateway.networking.k8s.io/v1",
    "SelfSubjectAccessReview": "authorization.k8s.io/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "ServingRuntime": "serving.kserve.io/v1alpha1",
    "LLMInferenceService": "serving.kserve.io/v1alpha2",
}
_CLUSTER_WIDE = {"Namespace", "Node", "StorageClass", "RuntimeClass", "SelfSubjectAccessReview"}


class ApiError(Exception):
    """What the API server answered, or why it did not.

    status: HTTP status; None: no answer came. reason: Kubernetes' own (NotFound, Conflict …),
    or unreachable, broken (off), timeout, tls. details: of the Status object.
    """

    def __init__(
        self,
        status: int | None,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = " ".join(message.split())
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s

    @property
    def may_pass(self) -> bool:
        """Whether the same request can succeed later, with nobody doing anything."""
        if self.status is None:
            return self.reason != "tls"
        return self.status in _AGAIN or (self.status == 409 and self.reason == "Conflict")


@dataclass(frozen=True)
class Connection:
    """A cluster and the namespace in it that is worked in.

    client: the official client's DynamicClient, of which only plain requests are used.
    context: of the kubeconfig; None inside of a cluster.
    """

    client: Any
    server: str
    namespace: str
    context: str | None
    clock: Clock = field(default_factory=Clock)

    @property
    def in_cluster(self) -> bool:
        return self.context is None

    def close(self) -> None:
        """Close what is kept open between requests."""
        self.client.client.rest_client.pool_manager.clear()

    def place(self) -> str:
        """How messages name it."""
        return f"context {self.context}" if self.context else "this cluster"


def api_version(kind: str) -> str:
    """Group and version under which a kind is asked for."""
    return _API_VERSIONS[kind]


def plural(kind: str) -> str:
    """The resource name of a kind."""
    return kind.lower() + ("es" if kind.endswith("s") else "s")


def path_of(
    connection: Connection,
    kind: str,
    name: str | None = None,
    *,
    sub: str | None = None,
    version: str | None = None,
    namespace: str | None = None,
) -> str:
    """The path of a kind's objects, or of one, in the connection's namespace.

    namespace: another one. sub: a subresource (log, proxy …).
    """
    group = version or _API_VERSIONS[kind]
    parts = ["api" if group == "v1" else "apis", group]
    if kind not in _CLUSTER_WIDE:
        parts += ["namespaces", namespace or connection.namespace]
    parts += [plural(kind), *([name] if name else []), *([sub] if sub else [])]
    return "/" + "/".join(parts)


def request(
    connection: Connection,
    method: str,
    path: str,
    *,
    query: Query = (),
    body: Object | None = None,
    content_type: str | None = None,
    patience_s: float = PATIENCE_S,
) -> Object:
    """One request, repeated while it may pass and patience lasts; the answer as a dict.

    The requests of this package are all safe to repeat: reads, applies, reviews, and
    deletions of one object. Raises ApiError.
    """
    clock = connection.clock
    give_up = clock.now() + patience_s
    pause_s = 0.25
    while True:
        try:
            data = send(connection, method, path, query=query, body=body, content_type=content_type)
            return _parsed(data)
        except ApiError as error:
            wait_s = error.retry_after_s or pause_s * random.uniform(0.8, 1.2)
            if not error.may_pass or clock.now() + wait_s > give_up:
                raise
        clock.sleep(wait_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def send(
    connection: Connection,
    method: str,
    path: str,
    *,
    query: Query = (),
    body: Object | None = None,
    content_type: str | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> bytes:
    """One request, once; the body of its answer. Raises ApiError."""
    response = _open(
        connection, method, path, query=query, body=body, content_type=content_type,
        timeout_s=timeout_s,
    )  # fmt: skip
    with _as_api_error():
        data: bytes = response.data
    return data


def stream(connection: Connection, path: str, query: Query, timeout_s: float) -> Any:
    """An answer to read from as it comes (urllib3's response). Raises ApiError.

    timeout_s: the longest silence.
    """
    return _open(connection, "get", path, query=query, timeout_s=timeout_s)


def lines(response: Any) -> Iterator[bytes]:
    """Lines of a streamed answer, each as soon as it is whole. Raises ApiError."""
    rest = b""
    with _as_api_error():
        for chunk in response.stream(amt=None, decode_content=True):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())


def find(
    connection: Connection,
    kind: str,
    name: str,
    *,
    version: str | None = None,
    namespace: str | None = None,
) -> Object | None:
    """An object, or None where there is none of that name. Raises ApiError."""
    try:
        path = path_of(connection, kind, name, version=version, namespace=namespace)
        return request(connection, "get", path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def listed(
    connection: Connection,
    kind: str,
    selector: str | None = None,
    *,
    version: str | None = None,
    namespace: str | None = None,
) -> list[Object]:
    """Objects of a kind, those that a label selector matches. Raises ApiError."""
    query = [("labelSelector", selector)] if selector else []
    path = path_of(connection, kind, version=version, namespace=namespace)
    answer = request(connection, "get", path, query=query)
    return list(answer.get("items") or [])


def _open(
    connection: Connection,
    method: str,
    path: str,
    *,
    query: Query = (),
    body: Object | None = None,
    content_type: str | None = None,
    timeout_s: float,
) -> Any:
    with _as_api_error():
        return connection.client.request(
            method,
            path,
            body=body,
            query_params=list(query),
            content_type=content_type,
            serialize=False,
            _request_timeout=(min(_CONNECT_S, timeout_s), timeout_s),
        )


class _as_api_error:  # noqa: N801 - reads as what it does: with _as_api_error()
    """Turns every way in which the client fails into ApiError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        if isinstance(error, ApiException) and error.status:
            raise _from_status(error) from error
        if isinstance(error, ApiException | HTTPError | OSError):
            raise _from_transport(error) from error


def _from_status(error: Any) -> ApiError:
    """The Status object in the body of a failed request."""
    try:
        status = json.loads(error.body or "")
    except (ValueError, TypeError):
        status = {}
    if not isinstance(status, dict):
        status = {}
    headers = error.headers or {}
    after = str(headers.get("Retry-After") or "")
    return ApiError(
        int(error.status),
        status.get("reason") or str(error.reason or "") or "Unknown",
        status.get("message") or _text(error.body) or str(error.reason),
        status.get("details"),
        float(after) if after.isdecimal() else None,
    )


def _text(body: Any) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())[:200]


def _from_transport(error: BaseException) -> ApiError:
    """Why no answer came, without the library's wording around it."""
    from urllib3.exceptions import NewConnectionError, ProtocolError
    from urllib3.exceptions import TimeoutError as Timeout

    text = str(getattr(error, "reason", None) or error)
    if "CERTIFICATE" in text.upper() or "SSL" in text:
        detail = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
        return ApiError(None, "tls", detail)
    # A refused connection is a kind of timeout to urllib3.
    if isinstance(error, Timeout) and not isinstance(error, NewConnectionError):
        return ApiError(None, "timeout", "no answer in time")
    if isinstance(error, ProtocolError):
        inner = error.args[-1] if error.args else error
        return ApiError(None, "broken", getattr(inner, "strerror", None) or str(inner))
    text = re.sub(r"^.*?(?:Failed to establish a new connection|object at \w+>): ", "", text)
    text = re.sub(r"\[Errno -?\d+\] ", "", text)
    return ApiError(None, "unreachable", text or type(error).__name__)


def _parsed(data: bytes) -> Object:
    try:
        answer = json.loads(data)
    except ValueError:
        raise ApiError(
            200, "NotKubernetes", f"answers {_text(data)!r}, not as Kubernetes does"
        ) from None
    return answer if isinstance(answer, dict) else {}
