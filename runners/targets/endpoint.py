"""What a target yields: a place that answers, and what is known about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """A served model.

    base_url: scheme://host:port, no trailing slash, without the `/v1` prefix.
    model: the name to send in requests.
    tokenizer: a directory or tokenizer.json that belongs to the model, where known.
    api_key_env: the environment variable that holds the key; its value is never kept.
    more_metrics_urls: of further replicas behind the same address.
    host_header: the name to send where base_url is a gateway's address.
    worker_addresses: host:port of load workers that the target deployed, which know
        worker_token; empty: workers are processes here, or those that the profile names.
    facts: what start-up told, e.g. startup_s, model_weights_gib, kv_cache_gib,
        kv_cache_tokens, engine_arguments; a missing key was not measured.
    """

    base_url: str
    model: str
    target: str
    engine: str = "unknown"
    engine_version: str | None = None
    metrics_url: str | None = None
    more_metrics_urls: tuple[str, ...] = ()
    tokenizer: Path | None = None
    api_key_env: str | None = None
    ca_cert: Path | None = None
    simulated: bool = False
    host_header: str | None = None
    worker_addresses: tuple[str, ...] = ()
    worker_token: str | None = field(default=None, repr=False)
    facts: dict[str, Any] = field(default_factory=dict)
