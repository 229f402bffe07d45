"""Prices by name: `costs/*.yaml` of the current directory, then those that are shipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from runners import data
from runners.errors import UsageError
from runners.profiles.cost_section import PARTS, PRICES, Cost, Kind
from runners.profiles.document import shown_path
from runners.profiles.section import PositiveFloat, Section

Range = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
Amount = PositiveFloat | Range


class Price(Section):
    """One offer. A range of prices is for orientation and cannot be chosen."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)
    product: str = Field(min_length=1)
    offer: str = Field(min_length=1)
    kind: Kind | None = None
    price_per_gpu_hour: Amount | None = None
    price_per_node_hour: Amount | None = None
    price_per_vcpu_hour: Amount | None = None
    price_per_gib_hour: Amount | None = None
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    source: str = Field(min_length=1)
    date: str = Field(pattern=r"^20\d\d-\d\d(-\d\d)?$")

    @model_validator(mode="after")
    def has_prices(self) -> "Price":
        given = [key for key in PRICES if getattr(self, key) is not None]
        if not given:
            raise ValueError(f"give one of {', '.join(PRICES)}")
        if "price_per_node_hour" in given and any(key in given for key in PARTS):
            raise ValueError("give a price per node or per part of one, not both")
        for key in given:
            amount = getattr(self, key)
            if isinstance(amount, list) and amount[0] > amount[1]:
                raise ValueError(f"{key}: a range goes from low to high")
        return self

    @property
    def is_range(self) -> bool:
        return any(isinstance(getattr(self, key), list) for key in PRICES)


@dataclass(frozen=True)
class Listed:
    """A price and the file that holds it."""

    price: Price
    path: Path


def all_prices() -> Iterator[Listed]:
    """Every price, those of the current directory first.

    Raises UsageError for a file that cannot be read as a list of prices.
    """
    folders = dict.fromkeys((Path.cwd() / "costs", data.folder("costs")))
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            yield from _read(path)


def _read(path: Path) -> Iterator[Listed]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = document["prices"]
        prices = [Price.model_validate(row) for row in rows]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{shown_path(path)}: {place}: {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{shown_path(path)}: not a list of `prices` ({why})") from error
    yield from (Listed(price, path) for price in prices)


def find_price(name: str) -> Price | None:
    """The price of that name; None where there is none."""
    return next((each.price for each in all_prices() if each.price.name == name), None)


def filled(section: dict[str, Any]) -> dict[str, Any]:
    """A `cost` section with what the price it names says, where it names one.

    Keys that repeat the price (those of a resolved profile) stay. Raises UsageError for an
    unknown name, a range, or a figure beside the name that contradicts it.
    """
    name = section.get("price")
    if not isinstance(name, str):
        return section
    price = find_price(name)
    if price is None:
        if any(section.get(key) is not None for key in PRICES):
            return section  # resolved where the list was at hand
        raise UsageError(_unknown(name))
    if price.is_range:
        raise UsageError(
            f"{name!r} is a range of prices; put the one that you pay into the profile: "
            f"`cost: {{{_first_key(price)}: <price>, source: <where from>, date: <YYYY-MM>}}`"
        )
    said = price.model_dump(include={*PRICES, *_TOLD}, exclude_none=True)
    for key in (*PRICES, *_TOLD):
        beside = section.get(key)
        if beside is not None and beside != said.get(key) and not _is_default(key, beside):
            raise UsageError(f"{key}: {beside} is not what {name!r} says; keep one of the two")
    return {**section, **said}


_TOLD = ("currency", "kind", "source", "date")


def _is_default(key: str, value: Any) -> bool:
    """A dumped profile holds the default currency although nobody wrote it."""
    return key == "currency" and value == Cost.model_fields["currency"].default


def _first_key(price: Price) -> str:
    return next(key for key in PRICES if getattr(price, key) is not None)


def _unknown(name: str) -> str:
    names = [each.price.name for each in all_prices() if not each.price.is_range]
    close = get_close_matches(name[:100], names, n=3, cutoff=0.4) or sorted(set(names))
    return f"there is no price {name[:80]!r}; there are {', '.join(close)}, or add yours to costs/"
