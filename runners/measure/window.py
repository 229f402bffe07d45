"""The measured window: where the load was on and the numbers count."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runners.measure.records import Bools, Floats, Ints, Requests

STEADY_PATTERNS = ("closed", "constant", "poisson", "gamma")
MIN_SHARE_TO_LAST_SEND = 0.5
MIN_SHARE_AFTER_SNAPPING = 0.8


@dataclass(frozen=True)
class Window:
    """Edges in ns from the start of load.

    A request belongs to it when begun in [start, end]; an arrival when in (start, end].
    method: fixed, mser or none. warmup_s: seconds of load before the start. load_on: the load
    lasted until the end, nothing after the last send is in it. snapped: both edges are scrape
    instants. steady: None where a steady state was not looked for; unsteady: what says that
    it was not found. series: what each series said, as results.json shows it.
    """

    start_ns: int
    end_ns: int
    method: str
    warmup_s: float
    reason: str
    load_on: bool = True
    snapped: bool = False
    steady: bool | None = None
    unsteady: tuple[str, ...] = ()
    series: dict[str, Any] | None = None

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def began(self, times: Floats) -> Bools:
        return (times >= self.start_ns) & (times <= self.end_ns)

    def holds(self, times: Floats | Ints) -> Bools:
        return (times > self.start_ns) & (times <= self.end_ns)


def fixed_window(requests: Requests) -> Window | None:
    """From the first measured send to the last one; None where no measured request was due.

    The drain after the last send does not count; where that would drop more than half of
    the time until the last arrival, the window ends at the last arrival.
    """
    found = _measured_times(requests)
    if found is None:
        return None
    start, last_send, last_arrival = found
    if last_send - start >= MIN_SHARE_TO_LAST_SEND * (last_arrival - start):
        reason = "first to last send; the drain after the last send does not count"
        return _window(requests, start, last_send, "fixed", reason)
    reason = "first send to last arrival: ending at the last send would keep less than half of it"
    found_window = _window(requests, start, max(start, last_arrival), "fixed", reason)
    return replace(found_window, load_on=False)


def whole_window(requests: Requests) -> Window | None:
    """From the first send to the last arrival, the drain included; None as above."""
    found = _measured_times(requests)
    if found is None:
        return None
    start, last_send, last_arrival = found
    reason = "the whole load as the profile asks, warm-up and drain included"
    window = _window(requests, start, max(last_send, last_arrival), "none", reason)
    return replace(window, load_on=False)


def _measured_times(requests: Requests) -> tuple[int, int, int] | None:
    """(first send, last send, last arrival) of the measured requests."""
    measured = ~requests.warmup
    begun = requests.begun[measured]
    sent = requests.sent[measured]
    known = sent[~np.isnan(sent)] if not np.isnan(sent).all() else begun[~np.isnan(begun)]
    if not len(known):
        return None
    arrivals = requests.last[measured]
    last_send = int(known.max())
    last_arrival = last_send if np.isnan(arrivals).all() else int(np.nanmax(arrivals))
    return int(known.min()), last_send, last_arrival


def _window(requests: Requests, start: int, end: int, method: str, reason: str) -> Window:
    return Window(start, end, method, warmup_s(requests, start), reason)


def warmup_s(requests: Requests, start_ns: int) -> float:
    """Seconds of load before a start."""
    sent = requests.sent[~np.isnan(requests.sent)]
    first = float(sent.min()) if len(sent) else float(start_ns)
    return max(0.0, (start_ns - first) / 1e9)


def snapped(window: Window, requests: Requests, scrapes_ns: Ints) -> Window:
    """The window with both edges moved inwards to scrapes, where that keeps 80 % of it.

    Counters and client then speak of the same time.
    """
    start, end = window.start_ns, window.end_ns
    inside = scrapes_ns[(scrapes_ns >= start) & (scrapes_ns <= end)]
    if not len(scrapes_ns):
        return replace(window, reason=f"{window.reason}; no server metrics to align with")
    if len(inside) < 2 or inside[-1] - inside[0] < MIN_SHARE_AFTER_SNAPPING * (end - start):
        kept = "not aligned with the server's scrapes: that would keep less than 80 % of it"
        return replace(window, reason=f"{window.reason}; {kept}")
    first, last = int(inside[0]), int(inside[-1])
    return replace(
        window,
        start_ns=first,
        end_ns=last,
        warmup_s=warmup_s(requests, first),
        reason=f"{window.reason}; both edges moved inwards to scrapes of the server",
        snapped=True,
    )
