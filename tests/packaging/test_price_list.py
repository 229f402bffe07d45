"""The shipped prices: a figure that cannot say where it is from is worse than none."""

import yaml

from runners.data import folder
from runners.profiles.cost_section import Cost
from runners.profiles.prices import all_prices, filled


def test_every_price_can_stand_in_a_profile() -> None:
    shipped = [each for each in all_prices() if each.path.parent == folder("costs")]
    assert shipped
    for price in (each.price for each in shipped):
        if not price.is_range:
            cost = Cost.model_validate(filled({"price": price.name}))
            assert cost.is_known and cost.source and cost.date
    names = [each.price.name for each in shipped]
    offers = [(each.price.product, each.price.offer) for each in shipped]
    assert len(set(names)) == len(names) and len(set(offers)) == len(offers)


def test_no_price_is_younger_than_its_list() -> None:
    for path in folder("costs").glob("*.yaml"):
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        for row in listed["prices"]:
            assert row["date"] <= listed["compiled"] + "-31", row["name"]
