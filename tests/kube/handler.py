"""One connection of the API server double: HTTP in, HTTP out."""

import json
import select
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.kube import auth, watching
from tests.kube.errors import Object, StatusError, about, bad_request, no_such_path
from tests.kube.faults import Fault
from tests.kube.logs import LogQuery
from tests.kube.paths import Asked, asked, split_query
from tests.kube.portforward import forward, handshake
from tests.kube.reads import in_version
from tests.kube.resources import group_document, group_list, group_versions, resource_list
from tests.kube.writes import Target, read_body

if TYPE_CHECKING:
    from tests.kube.api_server import ApiServer

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "double",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.26.6",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class Reset(Exception):
    """Ends the connection with a TCP reset."""


class Handler(BaseHTTPRequestHandler):
    """`server` is the ApiServer that accepted the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: Any, address: Any, server: "ApiServer") -> None:
        self.api = server
        super().__init__(connection, address, server)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.api.requests.append((self.command, self.path))
        try:
            user = self.api.access.authenticate(self.headers.get("Authorization", ""))
            path, _ = split_query(self.path)
            document = self._discovery(path)
            if document is not None:
                fault = self.api.faults.next("get", "", path)
                if fault is None or not self._strike(fault):
                    self._send(200, document)
                return
            request = asked(self.command, self.path, self.api.served)
            fault = self.api.faults.next(request.verb, request.resource.plural, request.name)
            if fault is not None and self._strike(fault):
                return
            api = self.api.access
            api.check(
                user,
                request.verb,
                request.resource,
                request.subresource,
                request.namespace,
                request.name,
            )
            self._route(request, body, user, fault)
        except StatusError as refused:
            self._send(refused.code, refused.body(), refused.headers)

    def _strike(self, fault: Fault) -> bool:
        """Whether the fault is the whole answer."""
        if fault.kind == "reset":
            raise Reset
        if fault.kind == "slow":
            time.sleep(fault.delay_s)
        elif fault.kind == "throttle":
            text = b"Too many requests, please try again later.\n"
            self._raw(429, text, "text/plain", {"Retry-After": str(fault.retry_after_s)})
            return True
        elif fault.kind == "error":
            raise StatusError(fault.code, "InternalError", fault.message)
        return False

    def _route(self, request: Asked, body: bytes, user: str, fault: Fault | None) -> None:
        if request.verb == "watch":
            self._watch(request)
        elif request.subresource == "log":
            self._log(request)
        elif request.subresource == "portforward":
            self._portforward(request)
        else:
            routes: dict[str, Callable[[], tuple[int, Object, list[str]]]] = {
                "get": lambda: (200, self.api.reader.get(request), []),
                "list": lambda: (200, self.api.reader.page(request), []),
                "create": lambda: self._create(request, body, user),
                "update": lambda: self._update(request, body),
                "patch": lambda: self._patch(request, body),
                "delete": lambda: self._delete(request, body),
                "deletecollection": lambda: self._delete_all(request, body),
            }
            code, answer, warnings = routes[request.verb]()
            if fault is not None and fault.kind == "lost":
                raise Reset
            quoted = (json.dumps(text) for text in warnings)
            self._send(code, answer, warnings=[f"299 - {text}" for text in quoted])

    def _target(self, request: Asked) -> Target:
        agent = self.headers.get("User-Agent", "unknown")
        dry_run = request.query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise bad_request(f'invalid dryRun: "{dry_run}": supported values: "All"')
        return Target(
            request.resource,
            request.version,
            request.namespace,
            request.name,
            request.subresource,
            request.query.get("fieldManager") or agent.split("/")[0],
            request.query.get("fieldValidation") or "Warn",
            dry_run == "All",
            request.flag("force"),
        )

    def _create(self, request: Asked, body: bytes, user: str) -> tuple[int, Object, list[str]]:
        manifest = read_body(body)
        if not isinstance(manifest, dict):
            raise bad_request("the body of the request is not an object")
        if request.resource.plural.startswith("selfsubject"):
            access, served = self.api.access, self.api.served
            return 201, {**manifest, "status": auth.review(access, served, user, manifest)}, []
        target = self._target(request)
        created = self.api.writer.create(target, manifest)
        return 201, in_version(request, created), target.warnings

    def _update(self, request: Asked, body: bytes) -> tuple[int, Object, list[str]]:
        target = self._target(request)
        written = self.api.writer.replace(target, read_body(body))
        return 200, in_version(request, written), target.warnings

    def _patch(self, request: Asked, body: bytes) -> tuple[int, Object, list[str]]:
        target = self._target(request)
        content_type = (self.headers.get("Content-Type") or "").split(";")[0].strip()
        if content_type == "application/apply-patch+yaml":
            target.manager = request.query.get("fieldManager", "")
        written, new = self.api.writer.patch(target, content_type, body)
        return 201 if new else 200, in_version(request, written), target.warnings

    def _delete(self, request: Asked, body: bytes) -> tuple[int, Object, list[str]]:
        item = self.api.store.get(request.resource, request.namespace, request.name)
        left = self._remove(request, item, self._delete_options(request, body))
        if self.api.store.find(request.resource, request.namespace, request.name) is not None:
            return 200, in_version(request, left), []
        details = about(request.resource, request.name, uid=item["metadata"]["uid"])
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return 200, {**success, "details": details}, []

    def _delete_all(self, request: Asked, body: bytes) -> tuple[int, Object, list[str]]:
        options = self._delete_options(request, body)
        with self.api.store.lock:
            listed = self.api.reader.page(request)
            for item in self.api.reader.select(request):
                name = item["metadata"]["name"]
                namespace = item["metadata"].get("namespace", "")
                held = self.api.store.find(request.resource, namespace, name)
                if held is not None:
                    self._remove(request, held, options)
        return 200, listed, []

    def _remove(self, request: Asked, item: Object, options: Object) -> Object:
        if options.get("dryRun"):
            return item
        with self.api.store.lock:
            if request.resource.plural == "namespaces":
                for resource, inner in self.api.store.everything():
                    if inner["metadata"].get("namespace") == item["metadata"]["name"]:
                        self.api.collector.delete(resource, inner, {})
            held = self.api.store.get(
                request.resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]
            )
            return self.api.collector.delete(request.resource, held, options)

    def _delete_options(self, request: Asked, body: bytes) -> Object:
        options: Object = (read_body(body) if body else None) or {}
        for name in ("propagationPolicy", "dryRun"):
            if name in request.query:
                options[name] = request.query[name]
        if "gracePeriodSeconds" in request.query:
            options["gracePeriodSeconds"] = int(request.query["gracePeriodSeconds"])
        return options

    def _watch(self, request: Asked) -> None:
        since = request.query.get("resourceVersion", "")
        store = self.api.store
        gone = since not in ("", "0") and int(since) < store.oldest
        if gone and self.api.watches_refused_as_gone:
            raise watching.too_old(int(since), store.oldest)
        if since not in ("", "0") and int(since) > store.revision:
            message = f"Too large resource version: {since}, current: {store.revision}"
            raise StatusError(504, "Timeout", message)
        wanted = watching.Watch(
            request.resource,
            request.namespace,
            self.api.reader.matches(request),
            since,
            request.flag("allowWatchBookmarks"),
            float(request.query.get("timeoutSeconds") or 1800),
            request.flag("sendInitialEvents"),
            self.api.bookmark_every_s,
        )
        found = watching.events(
            store, wanted, self.api.stopped(), lambda item: in_version(request, item)
        )
        lines = (b"" if event is None else json.dumps(event).encode() + b"\n" for event in found)
        self.api.watching(self.connection, True)
        try:
            self._stream(lines, "application/json")
        finally:
            self.api.watching(self.connection, False)

    def _log(self, request: Asked) -> None:
        pod = self.api.store.get(request.resource, request.namespace, request.name)
        numbers = {
            name: int(request.query[name]) if request.query.get(name) else None
            for name in ("tailLines", "sinceSeconds", "limitBytes")
        }
        query = LogQuery(
            request.query.get("container", ""),
            request.flag("previous"),
            request.flag("follow"),
            numbers["tailLines"],
            numbers["sinceSeconds"],
            request.flag("timestamps"),
            numbers["limitBytes"],
        )
        lines = self.api.logs.read(pod, query, self.api.stopped())
        if query.follow:
            self._stream(lines, "text/plain")
        else:
            self._raw(200, b"".join(lines), "text/plain", {})

    def _portforward(self, request: Asked) -> None:
        pod = self.api.store.get(request.resource, request.namespace, request.name)
        if "websocket" not in self.headers.get("Upgrade", "").lower():
            raise bad_request("Upgrade request required")
        if pod.get("status", {}).get("phase") != "Running":
            why = f"unable to forward port because pod is not running. Current status={{{pod}}}"
            raise StatusError(500, "InternalError", why)
        ports = [int(each) for each in request.query.get("ports", "").split(",") if each]
        self.send_response_only(101)
        for name, value in handshake(self.headers).items():  # type: ignore[arg-type]
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        forward(
            self.connection,
            ports,
            lambda port: self.api.forward_address(request.namespace, request.name, port),
            self.api.stopped(),
        )

    def _discovery(self, path: str) -> Object | None:
        """What is served where; None for paths of objects. Raises 404 for an unknown group."""
        steps = [step for step in path.split("/") if step]
        served = self.api.served
        known: dict[str, Object] = {
            "version": VERSION,
            "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
            "apis": group_list(served),
            "openapi/v3": {"paths": {}},
        }
        if "/".join(steps) in known:
            return known["/".join(steps)]
        if steps[:1] == ["api"] and len(steps) == 2:
            return self._or_404(resource_list(served, "", steps[1]))
        if steps[:1] == ["apis"] and len(steps) == 2:
            versions = group_versions(served).get(steps[1])
            if versions is None:
                raise no_such_path()
            group = group_document(steps[1], versions)
            return {"kind": "APIGroup", "apiVersion": "v1", **group}
        if steps[:1] == ["apis"] and len(steps) == 3:
            return self._or_404(resource_list(served, steps[1], steps[2]))
        return None

    def _or_404(self, document: Object | None) -> Object:
        if document is None:
            raise no_such_path()
        return document

    def _send(
        self,
        code: int,
        document: Object,
        headers: dict[str, str] | None = None,
        warnings: list[str] | None = None,
    ) -> None:
        raw = json.dumps(document).encode()
        self._raw(code, raw, "application/json", headers or {}, warnings or [])

    def _raw(
        self,
        code: int,
        body: bytes,
        content_type: str,
        headers: dict[str, str],
        warnings: list[str] | None = None,
    ) -> None:
        self.send_response_only(code)
        self.send_header("Audit-Id", str(uuid.uuid4()))
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        for text in warnings or ():
            self.send_header("Warning", text)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, lines: Iterator[bytes], content_type: str) -> None:
        """Chunked; an empty line means silence, in which a client that left is noticed."""
        self.send_response_only(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if line:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            elif self._client_left():
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def _client_left(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return bool(readable)
