"""An API server inside the test process, for the real client over real HTTP.

`with ApiServer() as server:` listens on a port of 127.0.0.1; `server.kubeconfig(path)` is how
a client finds it. State, rights, faults and logs can be changed while it runs.
"""

import secrets
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import yaml

from tests.kube.auth import Access
from tests.kube.deletion import Collector
from tests.kube.errors import Object
from tests.kube.faults import Faults
from tests.kube.handler import Handler, Reset
from tests.kube.logs import Logs
from tests.kube.portforward import Address
from tests.kube.reads import Reader
from tests.kube.resources import Resource, served_resources
from tests.kube.schemas import Schemas
from tests.kube.storage import Store
from tests.kube.writes import Target, Writer

NAMESPACES = ("default", "kube-system", "kserve", "bench")
USER = "system:serviceaccount:bench:bench"


class ApiServer:
    """kserve: version whose kinds are served, None when KServe is not installed.

    crds: folder of KServe's definitions by version (`<crds>/<kserve>/*.yaml`); None serves
    the same kinds without validating them. extras: of knative, keda, gateway. now: Unix
    seconds for timestamps in objects. certificate: (certificate, key) to serve HTTPS with.
    """

    def __init__(
        self,
        *,
        kserve: str | None = "0.20.0",
        crds: Path | None = None,
        extras: Iterable[str] = (),
        namespaces: Iterable[str] = NAMESPACES,
        now: Callable[[], float] = time.time,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.served = served_resources(kserve, extras)
        self.store = Store(now)
        self.schemas = Schemas(crds / kserve if crds and kserve else None)
        self.collector = Collector(self.store)
        self.writer = Writer(self.store, self.schemas, self.collector)
        self.reader = Reader(self.store, self.schemas, self.served)
        self.access = Access(USER)
        self.faults = Faults()
        self.logs = Logs(self.store)
        self.forwards: dict[tuple[str, str, int], Address] = {}
        self.bookmark_every_s = 60.0
        self.watches_refused_as_gone = False
        self.requests: list[tuple[str, str]] = []
        self.token = secrets.token_hex(16)
        self.access.accept(self.token)
        self._certificate = certificate
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._watching: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._held: socket.socket | None = None
        self._epoch = 0
        self.port = 0
        for name in namespaces:
            self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def __enter__(self) -> "ApiServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        host = "localhost" if self._certificate else "127.0.0.1"
        return f"http{'s' if self._certificate else ''}://{host}:{self.port}"

    def start(self) -> None:
        """Listen: on a free port at first, on the same one ever after."""
        listener = self._bound()
        self.port = listener.getsockname()[1]
        listener.listen(128)
        self._listener = listener
        name = f"api-server-{self.port}"
        threading.Thread(target=self._accept, args=(listener,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._close_listener()
        if self._held is not None:
            self._held.close()
            self._held = None
        self.cut_connections()

    def go_away(self, seconds: float | None = None) -> None:
        """Refuse connections and cut the open ones; come back after real seconds, if given."""
        self._close_listener()
        self._held = self._bound()  # nobody else takes the port; nothing listens on it either
        self.cut_connections()
        if seconds is not None:
            timer = threading.Timer(seconds, self.come_back)
            timer.daemon = True
            timer.start()

    def come_back(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()
            self.start()

    def cut_connections(self) -> None:
        with self._lock:
            self._epoch += 1
            for each in list(self._open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        with self.store.lock:
            self.store.lock.notify_all()

    def cut_watches(self) -> None:
        """End the connections of open watches, as a load balancer with an idle timeout does."""
        with self._lock:
            for each in list(self._watching):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def expire_watches(self, refuse: bool = False) -> None:
        """Forget history: open watches end with 410 in the stream, older versions are gone.

        refuse: a watch from an old version is answered by HTTP 410 instead of an event.
        """
        self.watches_refused_as_gone = refuse
        self.store.compact()

    def revoke_token(self) -> None:
        """401 from now on."""
        self.access.revoke(self.token)

    def renew_token(self) -> str:
        """A new accepted token; it has to be written into a kubeconfig again."""
        self.token = secrets.token_hex(16)
        self.access.accept(self.token)
        return self.token

    def kubeconfig(
        self, path: Path, namespace: str = "bench", context: str = "double", user: str = "tester"
    ) -> Path:
        """Write the file by which a client finds this server."""
        cluster: Object = {"server": self.url}
        if self._certificate:
            cluster["certificate-authority"] = str(self._certificate[0])
        named = {"cluster": "double", "user": user, "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "double", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token}}],
            "contexts": [{"name": context, "context": named}],
        }
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        path.chmod(0o600)
        return path

    def resource(self, full_name: str) -> Resource:
        """pods, deployments.apps, inferenceservices.serving.kserve.io …"""
        return next(each for each in self.served if each.full_name == full_name)

    def add(self, manifest: Object) -> Object:
        """Create an object without HTTP, past rights and faults, status included."""
        group, _, version = manifest["apiVersion"].rpartition("/")
        kind = manifest["kind"]
        resource = next(each for each in self.served if (each.group, each.kind) == (group, kind))
        namespace = manifest["metadata"].get("namespace", "default")
        target = Target(resource, version, namespace if resource.namespaced else "")
        with self.store.lock:
            created = self.writer.create(target, manifest)
            if manifest.get("status"):
                created = self.store.put(resource, {**created, "status": manifest["status"]})
        return created

    def find(self, full_name: str, name: str, namespace: str = "bench") -> Object | None:
        resource = self.resource(full_name)
        return self.store.find(resource, namespace if resource.namespaced else "", name)

    def all(self, full_name: str, namespace: str = "") -> list[Object]:
        return self.store.all(self.resource(full_name), namespace)

    def forward_address(self, namespace: str, pod: str, port: int) -> Address | None:
        """Where a port-forward to that pod and port ends; port 0 stands for every port."""
        for wanted in (port, 0):
            if (namespace, pod, wanted) in self.forwards:
                return self.forwards[namespace, pod, wanted]
        return None

    def watching(self, connection: socket.socket, begins: bool) -> None:
        with self._lock:
            (self._watching.add if begins else self._watching.discard)(connection)

    def stopped(self) -> Callable[[], bool]:
        """Whether connections were cut since this call."""
        epoch = self._epoch
        return lambda: self._epoch != epoch

    def _bound(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        return listener

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            ready.register(listener, selectors.EVENT_READ)
            while self._listener is listener:
                if not ready.select(1.0):
                    continue
                connection, address = listener.accept()
                threading.Thread(
                    target=self._serve, args=(connection, address), daemon=True
                ).start()

    def _serve(self, connection: socket.socket, address: Address) -> None:
        with suppress(OSError):  # the client went away, which is its right
            if self._certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self._certificate)
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                self._answer(connection, address)

    def _answer(self, connection: socket.socket, address: Address) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            Handler(connection, address, self)
        except Reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._watching.discard(connection)
