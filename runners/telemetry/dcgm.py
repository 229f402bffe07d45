"""GPUs through the DCGM exporter of one node, asked directly beside the load."""

from collections.abc import Iterator
from types import TracebackType

from runners.telemetry.counters import GPU_SOURCE
from runners.telemetry.scrape import SCRAPE_DURATION, UP, Row, Scraper, scrape_rows

# What is kept of an exporter's many fields: energy, power, use and memory, clock and heat.
FIELDS = (
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_SM_CLOCK",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_PROF_SM_ACTIVE",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "DCGM_FI_PROF_DRAM_ACTIVE",
)


class Dcgm:
    """Scrapes an exporter while the context is open; it never raises into the run."""

    def __init__(self, url: str, interval_s: float = 1.0) -> None:
        self._scraper = Scraper(url, interval_s)

    @property
    def source(self) -> str:
        return f"{GPU_SOURCE}dcgm {self._scraper.source}"

    def __enter__(self) -> "Dcgm":
        self._scraper.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scraper.__exit__(kind, error, trace)

    def missing(self) -> str | None:
        """Why nothing was seen; None where something was."""
        if self._scraper.gaps < len(self._scraper.scrapes):
            return None
        return f"the DCGM exporter {self._scraper.source}: {self._scraper.last_failure}"

    def rows(self, t0_monotonic_ns: int, t0_unix_ns: int) -> Iterator[Row]:
        """What was seen, for server.parquet. t0: the start of load on two clocks."""
        kept = {UP, SCRAPE_DURATION, *FIELDS}
        for scrape in self._scraper.scrapes:
            for metric, labels, value in scrape_rows(scrape):
                # The parser gives every counter the ending that OpenMetrics asks for.
                name = metric.removesuffix("_total")
                if name in kept:
                    yield scrape.at_ns - t0_monotonic_ns, self.source, name, labels, value
