"""Load workers as pods: an Indexed Job, a headless Service and a Secret."""

import secrets
from typing import Any

from runners.load.remote_wire import TOKEN_ENV
from runners.profiles.model import Profile
from runners.render.metadata import metadata, service_of, time_to_live_s
from runners.render.templates import Object, fill

PORT = 8790
_TOKEN_KEY, _API_KEY = "token", "api-key"


def render_load_workers(
    profile: Profile,
    run_id: str | None = None,
    token: str | None = None,
    api_key: str | None = None,
) -> dict[str, Object]:
    """File name → object, in the order in which they are applied; empty without pods.

    token: what workers and coordinator share; a new one by default, so that two calls
    differ in the Secret. api_key: of the server, where the profile names a variable for
    it; without, the Secret has to be given its key `api-key` by other means.
    """
    if profile.load.workers is None or profile.load.workers.pods is None:
        return {}
    values = _values(profile, run_id)
    values["secrets"] = {_TOKEN_KEY: token or secrets.token_urlsafe(32)}
    if profile.api_key_env is not None and api_key is not None:
        values["secrets"][_API_KEY] = api_key
    files = ("secret", "service", "job")
    return {
        f"load-workers-{name}.yaml": fill(f"load-workers/{name}.yaml.j2", values) for name in files
    }


def pod_addresses(profile: Profile, namespace: str) -> list[str]:
    """Where the workers of the Job wait, by the names that the Service gives them."""
    pods = (profile.load.workers.pods if profile.load.workers else None) or 0
    name = job_name(profile)
    return [f"{name}-{index}.{name}.{namespace}.svc:{PORT}" for index in range(pods)]


def job_name(profile: Profile) -> str:
    """Name of Job, Service and Secret; with an index behind it still a DNS label."""
    return f"{service_of(profile)}-load"


def _values(profile: Profile, run_id: str | None) -> dict[str, Any]:
    workers = profile.load.workers
    assert workers is not None and workers.pods is not None
    name = job_name(profile)
    common = metadata(profile, name, run_id)
    selector = {
        "app.kubernetes.io/component": "load-worker",
        "app.kubernetes.io/instance": name,
    }
    return {
        "metadata": common,
        "selector": selector,
        "pod_labels": {**common["labels"], **selector},
        "served": (
            {"serving.kserve.io/inferenceservice": service_of(profile)}
            if profile.target == "kserve"
            else {}
        ),
        "count": workers.pods,
        "deadline_s": time_to_live_s(profile),
        "image": workers.image,
        "arguments": [f"--listen=:{PORT}", f"--count={workers.pods}", "--once"],
        "environment": _environment(profile, name),
        "port": PORT,
        "resources": {"cpu": workers.cpu or "2", "memory": workers.memory or "4Gi"},
    }


def _environment(profile: Profile, secret: str) -> list[Object]:
    variables = {TOKEN_ENV: _TOKEN_KEY}
    if profile.api_key_env is not None:
        variables[profile.api_key_env] = _API_KEY
    return [
        {"name": "HOME", "value": "/tmp"},
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, key in variables.items()
        ),
    ]
