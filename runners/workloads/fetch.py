"""Downloading public datasets; what arrives is checked against a pinned hash."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runners.errors import TargetError
from runners.rundir import writing

_TIMEOUT_S = 30.0
_PIECE = 1 << 20


@dataclass(frozen=True)
class Public:
    """A file that anybody may download, and the only content we take for it."""

    url: str
    sha256: str
    size: int
    file: str
    licence: str


PUBLIC: Mapping[str, Public] = {
    "spec-bench": Public(
        "https://raw.githubusercontent.com/hemingkx/Spec-Bench/main/data/spec_bench/question.jsonl",
        "4b6d33e79484f9841c487ee87d1cf6aa8c6066f61d5d482ff09e5a007fafdf04",
        698_768,
        "spec-bench.jsonl",
        "the repository is Apache-2.0; its questions come from MT-Bench, WMT14, CNN/DailyMail, "
        "Natural Questions, GSM8K and DPR, with terms of their own",
    ),
    "sharegpt": Public(
        "https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered/resolve/"
        "192ab2185289094fc556ec8ce5ce1e8e587154ca/ShareGPT_V3_unfiltered_cleaned_split.json",
        "35f0e213ce091ed9b9af2a1f0755e9d39f9ccec34ab281cd4ca60d70f6479ba4",
        672_837_942,
        "sharegpt.json",
        "conversations that users shared; see the dataset's own page",
    ),
}


def fetch(
    name: str, folder: Path, seen: Callable[[int], None] = lambda _: None, url: str | None = None
) -> Path:
    """Download a public dataset into `folder`, unless it is there already; its path.

    seen: told how many bytes have come so far. url: another place that has the same file.
    The file appears only when it is whole and has the pinned hash. Raises TargetError where
    there is no network or another content, OutputError where it cannot be written.
    """
    public = PUBLIC[name]
    place = folder / public.file
    if place.is_file() and _hash_of(place) == public.sha256:
        return place
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(place.name + ".part")
    try:
        found = _download(public, url or public.url, draft, seen)
        if found != public.sha256:
            raise TargetError(
                f"{url or public.url}: not the {name} that is known (sha256 {found[:12]}…, not "
                f"{public.sha256[:12]}…); nothing was kept, download it elsewhere to {place}"
            )
        with writing(place):
            draft.replace(place)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return place


def _download(public: Public, url: str, draft: Path, seen: Callable[[int], None]) -> str:
    """Write what the URL gives; its SHA-256."""
    import httpx

    digest, came = hashlib.sha256(), 0
    way_out = (
        f"download {url} on a machine that can and put it at "
        f"{draft.with_suffix('')} (sha256 {public.sha256})"
    )
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_TIMEOUT_S) as answer,
            writing(draft),
            draft.open("wb") as file,
        ):
            if answer.status_code != 200:
                raise TargetError(f"{url} answers with HTTP {answer.status_code}; {way_out}")
            for piece in answer.iter_bytes(_PIECE):
                file.write(piece)
                digest.update(piece)
                came += len(piece)
                seen(came)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise TargetError(f"cannot reach {httpx.URL(url).host}: {reason}; {way_out}") from error
    return digest.hexdigest()


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
