"""The measured window: where the load was on and the numbers count."""

from dataclasses import dataclass

import numpy as np

from runners.measure.records import Bools, Floats, Ints, Requests

MIN_SHARE_TO_LAST_SEND = 0.5
MIN_SHARE_AFTER_SNAPPING = 0.8


@dataclass(frozen=True)
class Window:
    """Edges in ns from the start of load.

    A request belongs to it when begun in [start, end]; an arrival when in (start, end].
    warmup_s: seconds of load before the start. snapped: both edges are scrape instants.
    """

    start_ns: int
    end_ns: int
    method: str
    warmup_s: float
    reason: str
    snapped: bool = False

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def began(self, times: Floats) -> Bools:
        return (times >= self.start_ns) & (times <= self.end_ns)

    def holds(self, times: Floats | Ints) -> Bools:
        return (times > self.start_ns) & (times <= self.end_ns)


def find_window(requests: Requests, scrapes_ns: Ints) -> Window | None:
    """The window of a run; None where no measured request was even due.

    Fixed edges: from the first measured send to the last one, so that the drain after it
    does not count; where that would drop more than half of the time until the last arrival,
    to the last arrival. Both edges then move inwards to scrape instants where at least 80 %
    of the window is kept, so that counters and client speak of the same time.
    """
    measured = ~requests.warmup
    begun = requests.begun[measured]
    sent = requests.sent[measured]
    known = sent[~np.isnan(sent)] if not np.isnan(sent).all() else begun[~np.isnan(begun)]
    if not len(known):
        return None
    start, last_send = int(known.min()), int(known.max())
    arrivals = requests.last[measured]
    last_arrival = int(np.nanmax(arrivals)) if not np.isnan(arrivals).all() else last_send
    if last_send - start >= MIN_SHARE_TO_LAST_SEND * (last_arrival - start):
        end, reason = last_send, "first to last send; the drain after the last send does not count"
    else:
        end, reason = (
            last_arrival,
            ("first send to last arrival: ending at the last send would keep less than half of it"),
        )
    return _snapped(start, max(start, end), requests, scrapes_ns, reason)


def _snapped(start: int, end: int, requests: Requests, scrapes_ns: Ints, reason: str) -> Window:
    snapped = False
    inside = scrapes_ns[(scrapes_ns >= start) & (scrapes_ns <= end)]
    if not len(scrapes_ns):
        reason += "; no server metrics to align with"
    elif len(inside) > 1 and inside[-1] - inside[0] >= MIN_SHARE_AFTER_SNAPPING * (end - start):
        start, end, snapped = int(inside[0]), int(inside[-1]), True
        reason += "; both edges moved inwards to scrapes of the server"
    else:
        reason += "; not aligned with the server's scrapes: that would keep less than 80 % of it"
    loads = requests.sent[~np.isnan(requests.sent)]
    first = float(loads.min()) if len(loads) else float(start)
    return Window(start, end, "fixed", max(0.0, (start - first) / 1e9), reason, snapped)
