"""Which certificates an https server may show."""

from pathlib import Path
from typing import Any

from runners.errors import UsageError


def trusted(ca_cert: Path | None) -> Any:
    """httpx's `verify`: the authorities in a PEM file, or the system's.

    Raises UsageError for a file that holds none.
    """
    import ssl

    if ca_cert is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_cert))
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise UsageError(f"--ca-cert {ca_cert}: no readable PEM file: {reason}") from error
