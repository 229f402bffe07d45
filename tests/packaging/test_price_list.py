"""The shipped prices: a figure that cannot say where it is from is worse than none."""

import re
from typing import Any

import yaml

from runners.data import folder
from runners.profiles.model import Cost


def test_every_price_can_stand_in_a_profile() -> None:
    listed = yaml.safe_load((folder("costs") / "gpu-prices.yaml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = listed["prices"]
    assert rows
    for row in rows:
        for price in (row["price_low"], row["price_high"]):
            Cost(
                price_per_gpu_hour=float(price),
                currency=row["currency"],
                source=row["source"],
                date=row["date"],
            )
        assert row["price_low"] <= row["price_high"], row
        assert row["unit"] == "gpu_hour", row
        assert re.match(r"20\d\d-", row["date"]) and row["source"] and row["offer"], row
        assert row["date"] <= listed["compiled"] + "-31", row
    offers = [(row["product"], row["offer"]) for row in rows]
    assert len(offers) == len(set(offers))
