"""Finding a profile by the name or path a user typed."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from runners import data
from runners.errors import UsageError
from runners.profiles.document import shown_path

_SUFFIXES = (".yaml", ".yml")
# Settings of another engine, for engine.extra_engine_args and the converter.
_NO_PROFILES = "engine-configs"
# Older documents and people in a checkout write the folder in front of the name.
_FOLDERS = ("./", "runners/profiles/", "profiles/")


def profile_files(folder: Path | None = None) -> dict[str, Path]:
    """Every profile of a folder (the shipped ones by default) by its name.

    The name is the path below the folder without suffix: `cpu-smoke`, `quantization/fp8`.
    """
    root = folder if folder is not None else data.folder("profiles")
    files = (path for path in sorted(root.rglob("*")) if path.suffix in _SUFFIXES)
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in files
        if _NO_PROFILES not in path.relative_to(root).parts
    }


def find_profile(reference: str | Path) -> Path:
    """The file that `reference` means: a path, or a name in the profiles folder.

    A name stands with or without .yaml, with or without its sub-folder, and with or without
    `runners/profiles/` before it. Raises UsageError with close matches.
    """
    path = Path(reference).expanduser()
    if _is(path, Path.is_file):
        return path
    named = find_by_name(str(reference))
    if named is not None:
        return named
    if _is(path, Path.is_dir):
        raise UsageError(f"{shown_path(path)} is a folder; name a profile in it")
    raise not_found(str(reference), "./bench.sh --list-profiles shows them all")


def find_by_name(reference: str) -> Path | None:
    """The shipped profile of that name, None where there is none.

    Raises UsageError where several sub-folders hold the name.
    """
    name = _name(reference)
    files = profile_files()
    if name in files:
        return files[name]
    below = [known for known in files if known.rsplit("/", 1)[-1] == name]
    if len(below) > 1:
        raise UsageError(f"profile {reference!r} could be {' or '.join(below)}; write one of them")
    return files[below[0]] if below else None


def not_found(reference: str, way_out: str) -> UsageError:
    """The line for a profile that does not exist, with names that look like it."""
    short = reference if len(reference) <= 80 else reference[:77] + "..."
    names = profile_files()
    leaves = {name.rsplit("/", 1)[-1]: name for name in names} | {name: name for name in names}
    close = get_close_matches(_name(reference)[:100], leaves, n=3, cutoff=0.6)
    close = list(dict.fromkeys(leaves[match] for match in close))
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(f"there is no profile {short!r}; {hint}{way_out}")


def _name(reference: str) -> str:
    for folder in _FOLDERS:
        reference = reference.removeprefix(folder)
    for suffix in _SUFFIXES:
        reference = reference.removesuffix(suffix)
    return reference


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name longer than the file system takes, a folder we may not enter
        return False
