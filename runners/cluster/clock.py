"""Time as waiting code sees it, so that a test can let 20 minutes pass at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """now: monotonic seconds; unix: seconds since the epoch; sleep: let seconds pass."""

    now: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
