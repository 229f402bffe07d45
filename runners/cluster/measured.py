"""The time during which a started service is measured: its endpoint, and what disturbs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runners.cluster.disturbances import Disturbances
from runners.cluster.facts import cluster_facts, engine_facts
from runners.cluster.load_pods import Crew
from runners.cluster.logs import save_logs
from runners.cluster.metrics import metrics_urls
from runners.cluster.reach import Route
from runners.cluster.session import Session, Started
from runners.cluster.wait import DeployError
from runners.profiles.model import Profile
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint


@contextmanager
def measured(
    session: Session, started: Started, run: RunDirectory, target: str, crew: Crew | None = None
) -> Iterator[Endpoint]:
    """Yield the endpoint and note what happens to the pods meanwhile.

    crew: load workers in the cluster, which go their own way to the model.

    Writes cluster.json, and the pods' logs at the end. Raises DeployError where the service
    was deleted by someone else; the load is interrupted then, and what it has is kept.
    """
    connection = session.connection
    cluster = cluster_facts(connection, started.pods)
    disturbances: list[dict[str, Any]] = []
    route = started.route
    if crew is not None:
        route = Route("in-cluster", crew.base_url)
    facts: dict[str, Any] = {
        **(engine_facts(connection, started.pods[0]) if started.pods else {}),
        "startup_s": round(started.startup_s, 3),
        "route": route.way,
        "degraded": [route.degraded] if route.degraded else [],
        "disturbances": disturbances,
        "cluster": cluster,
    }
    with metrics_urls(connection, started, session.ca_cert) as metrics:
        endpoint = Endpoint(
            base_url=route.base_url,
            model=started.model,
            target=target,
            engine=session.profile.engine.name,
            engine_version=facts.pop("engine_version", None),
            metrics_url=metrics[0] if metrics else None,
            more_metrics_urls=metrics[1:],
            tokenizer=tokenizer_of(session.profile),
            ca_cert=session.ca_cert,
            facts=facts,
            host_header=route.host_header,
            worker_addresses=crew.addresses if crew else (),
            worker_token=crew.token if crew else None,
        )
        watcher = Disturbances(started.watches, started.readiness.seen, disturbances)
        try:
            with watcher:
                yield endpoint
        except KeyboardInterrupt:
            if watcher.fatal is None:
                raise
        finally:
            run.write_json("cluster.json", {**cluster, "disturbances": disturbances})
            save_logs(connection, started.pods, run.logs)
    if watcher.fatal is not None:
        raise DeployError(watcher.fatal)


def tokenizer_of(profile: Profile) -> Path | None:
    """The profile's tokenizer, or the model's, where one is on this machine."""
    for place in (profile.model.tokenizer, profile.model.uri):
        path = Path(place) if place and "://" not in place else None
        if path and (path.is_file() or (path / "tokenizer.json").is_file()):
            return path
    return None
