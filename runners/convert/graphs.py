"""Settings of CUDA graphs."""

from typing import Any

from runners.convert.outcome import Convert, Outcome, approximate, exact, none, nothing
from runners.convert.settings import Settings

SECTION = "cuda_graph_config"
_EAGER = "vLLM's eager mode turns its compilation off too"


def without_graphs(settings: Settings) -> Outcome:
    """`cuda_graph_config: null`."""
    return approximate({"enforce_eager": True}, _EAGER)


def _named(settings: Settings, modern: str, value: Any) -> dict[str, Any] | None:
    """The version's own name for sizes of graphs; None where it has no argument for them."""
    flags = settings.target.release.flags
    if modern in flags:
        return {modern: value}
    if "cuda_graph_sizes" in flags:
        return {"cuda_graph_sizes": value if isinstance(value, list) else [value]}
    return None


def _sized(settings: Settings, modern: str, value: Any, note: str) -> Outcome:
    args = _named(settings, modern, value)
    if args is None:
        return nothing(f"vLLM {settings.target.version} sets sizes in its compilation_config only")
    return approximate(args, note) if note else exact(args)


def _width(settings: Settings) -> int:
    """Tokens of one request in a decode step: the draft tokens and one more."""
    given = settings.get("speculative_config") or {}
    names = ("max_draft_len", "num_nextn_predict_layers")
    found = [given[name] for name in names if name in given] if isinstance(given, dict) else []
    return found[0] + 1 if found and isinstance(found[0], int) else 1


def _sizes(value: Any, settings: Settings) -> Outcome:
    if not isinstance(value, list) or not value:
        raise settings.error("takes a list of batch sizes")
    sizes = sorted({settings.whole(size, 1) for size in value})
    most = settings.get(SECTION, "max_batch_size")
    if most not in (None, 0, sizes[-1]):
        raise settings.error(
            f"the largest is {sizes[-1]}, but {SECTION}.max_batch_size is {most}; make them equal"
        )
    width = _width(settings)
    note = f"vLLM counts tokens: {width} for each request that speculates" if width > 1 else ""
    return _sized(settings, "cudagraph_capture_sizes", [size * width for size in sizes], note)


def _most(value: Any, settings: Settings) -> Outcome:
    size, width = settings.whole(value), _width(settings)
    if settings.get(SECTION, "batch_sizes"):
        return exact(note="the largest of batch_sizes")
    if size == 0:
        return exact(note="each engine's own default")
    note = f"vLLM counts tokens: {width} for each request that speculates" if width > 1 else ""
    return _sized(settings, "max_cudagraph_capture_size", size * width, note)


GRAPHS: dict[str, Convert] = {
    "batch_sizes": _sizes,
    "max_batch_size": _most,
    "enable_padding": none("vLLM always pads to the next size that it captured", (True,)),
    "mode": none("vLLM captures decode and mixed steps as it needs them", ("decode",)),
}
