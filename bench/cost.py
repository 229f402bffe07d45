"""(a) What a load generator costs: processor time, memory, start-up."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.clients import Client, Work
from bench.meter import Metered
from bench.mock import Timetable
from bench.tables import show, spread
from bench.trial import trial


@dataclass(frozen=True)
class Cell:
    """A load of which the cost is measured."""

    name: str
    work: Work
    timetable: Timetable


def cells(requests: int, prompt_tokens: int) -> list[Cell]:
    """Without delays a slow client finds several events in a read, which makes each cheaper;
    paced, every client reads every event alone."""
    paced, steady = Timetable(ttft_ms=50, itl_ms=10), Timetable(ttft_ms=2.5, itl_ms=2.5)

    def work(count: int, tokens: int, concurrency: int) -> Work:
        return Work(count, tokens, concurrency, prompt_tokens=prompt_tokens)

    return [
        Cell("64 streams, no delays", work(requests, 128, 64), Timetable()),
        Cell("256 streams, no delays", work(requests, 128, 256), Timetable()),
        Cell("64 streams, an event each 2.5 ms", work(requests // 2, 128, 64), steady),
        Cell("512 streams, 50/10 ms", work(8 * 512, 64, 512), paced),
    ]


@dataclass(frozen=True)
class Start:
    """From the command to the server's receipt of its first streamed request, and the
    processor time of a whole run of one request."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Cost:
    """Processor time without start-up."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    tokens: int
    requests: int

    @property
    def per_million_tokens(self) -> float:
        return self.cpu_s / self.tokens * 1e6

    @property
    def per_thousand_requests(self) -> float:
        return self.cpu_s / self.requests * 1e3


def start_of(client: Client, work: Work) -> Start:
    with trial(client, replace(work, requests=1, concurrency=1), Timetable()) as one:
        assert one.truth is not None
        wall = (int(one.truth.arrival[0]) - one.metered.started_ns) / 1e9
        return Start(wall, one.metered.cpu_s)


def cost_of(metered: Metered, work: Work, starts: Sequence[Start]) -> Cost:
    """What a run took beyond start-up, of which the median of all rounds is taken: a single
    one of a peer varies by more than its whole run costs."""
    start = median(each.cpu_s for each in starts)
    tokens = work.requests * work.tokens
    used = metered.cpu_s - start
    return Cost(used, metered.wall_s, metered.peak_mb, tokens, work.requests)


def measure(clients: Sequence[Client], chosen: Sequence[Cell], rounds: int) -> dict[str, Any]:
    """Every client in turn, `rounds` times; prints the tables and returns the figures."""
    starts: dict[str, list[Start]] = defaultdict(list)
    used: dict[tuple[str, str], list[Metered]] = defaultdict(list)
    for _ in range(rounds):
        for client in clients:
            starts[client.name].append(start_of(client, chosen[0].work))
        for cell in chosen:
            for client in clients:
                with trial(client, cell.work, cell.timetable, logged=False) as done:
                    used[cell.name, client.name].append(done.metered)
    costs = {
        (cell.name, client.name): [
            cost_of(metered, cell.work, starts[client.name])
            for metered in used[cell.name, client.name]
        ]
        for cell in chosen
        for client in clients
    }
    _print_starts(starts)
    for cell in chosen:
        _print_costs(cell.name, {each.name: costs[cell.name, each.name] for each in clients})
    return {
        "start": {name: [vars(each) for each in runs] for name, runs in starts.items()},
        "cost": [
            {"load": load, "client": name, "runs": [vars(each) for each in runs]}
            for (load, name), runs in costs.items()
        ],
    }


def _print_starts(starts: dict[str, list[Start]]) -> None:
    rows = [
        (name, spread([each.wall_s for each in runs]), spread([each.cpu_s for each in runs]))
        for name, runs in starts.items()
    ]
    show("Start-up", ("client", "s to first request", "CPU s, 1 request"), rows)


def _print_costs(load: str, by_client: dict[str, list[Cost]]) -> None:
    columns = ("client", "CPU s/1M tokens", "CPU s/1k req", "× ours", "peak MB", "wall s")
    own = next(iter(by_client.values()))
    rows = []
    for name, runs in by_client.items():
        ratios = [a.cpu_s / b.cpu_s for a, b in zip(runs, own, strict=True)]
        rows.append(
            (
                name,
                spread([each.per_million_tokens for each in runs]),
                spread([each.per_thousand_requests for each in runs]),
                spread(ratios, 1),
                spread([each.peak_mb for each in runs], 0),
                spread([each.wall_s for each in runs], 1),
            )
        )
    show(f"Cost without start-up: {load}", columns, rows)
