"""One run of one client against a fresh server."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.clients import Client, Work
from bench.meter import Metered, meter
from bench.mock import Timetable, Truth, read_log, serving

_DEGRADED_OR_INVALID = (0, 3)


@dataclass(frozen=True)
class Trial:
    """folder: what the client left; truth: None where the server kept no log."""

    metered: Metered
    folder: Path
    truth: Truth | None


@contextmanager
def trial(
    client: Client,
    work: Work,
    timetable: Timetable,
    *,
    logged: bool = True,
    cores: tuple[int, int] | None = None,
) -> Iterator[Trial]:
    """Run `client`; cores: (server's, client's). What it left is removed at the end.

    Raises SystemExit with the client's last words when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="instrument-") as name:
        folder = Path(name)
        log = folder / "server.log" if logged else None
        with serving(timetable, log, cores[0] if cores else None) as url:
            metered = meter(client.command(url, work, folder), folder, cores[1] if cores else None)
        if metered.exit_code not in _DEGRADED_OR_INVALID:
            words = (folder / "output.txt").read_text(errors="replace").strip()[-2000:]
            raise SystemExit(f"{client.name} ended with {metered.exit_code}: {words}")
        yield Trial(metered, folder, read_log(log) if log else None)
