"""What a client is told: requests to send, and when to stop."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """A request to send; `intended_ns` None means: as soon as a slot is free.

    goes_on: a later turn of the same conversation waits for the answer.
    """

    request_id: int
    prompt_id: int
    requested_tokens: int
    warmup: bool
    intended_ns: int | None
    message: bytes
    goes_on: bool = False


@dataclass(frozen=True)
class Limits:
    """When to stop and how much to keep in flight.

    concurrency: most requests in flight, None for no cap (open loop only).
    requests: most requests that are not warm-up.
    duration_ns: measured time; it starts with the first request that is not warm-up.
    warmup_ns: requests sent within so long after the start are warm-up.
    give_up_after: stop when the first so many requests have all failed.
    failures, failure_share: stop when so many have failed, or such a share of the finished.
    cold: a new connection for every request, its making timed.
    """

    concurrency: int | None
    requests: int | None
    duration_ns: int | None
    warmup_ns: int | None
    timeout_ns: int
    give_up_after: int
    failures: int | None = None
    failure_share: float | None = None
    cold: bool = False
