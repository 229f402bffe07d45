"""The `cost` section of a profile: what the machines cost, and an API to compare with."""

from typing import Literal

from pydantic import Field, model_validator

from runners.profiles.section import PositiveFloat, Section

Kind = Literal["on-demand", "spot", "reserved"]
# Of a GPU, of a processor and of memory add up; that of a node stands alone.
PARTS = ("price_per_gpu_hour", "price_per_vcpu_hour", "price_per_gib_hour")
PRICES = ("price_per_node_hour", *PARTS)


class Cost(Section):
    """Price of the machines; without one, costs are null."""

    price: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        examples=["aws-p5-capacity-block"],
        description="Name of a price in costs/*.yaml, of the current directory or as shipped; "
        "it fills the keys below. Nothing is taken from there without being named.",
    )
    price_per_gpu_hour: PositiveFloat | None = Field(
        default=None, description="Per GPU and hour; a MIG slice costs its fraction."
    )
    price_per_node_hour: PositiveFloat | None = Field(
        default=None, description="Per node and hour, for machines priced as a whole."
    )
    price_per_vcpu_hour: PositiveFloat | None = Field(
        default=None, description="Per requested CPU and hour; it adds to the other parts."
    )
    price_per_gib_hour: PositiveFloat | None = Field(
        default=None, description="Per requested GiB of memory and hour; it adds likewise."
    )
    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", examples=["USD", "EUR"], description="ISO 4217 code."
    )
    kind: Kind | None = Field(default=None, description="How the machines are paid for.")
    source: str | None = Field(default=None, description="Where the price is from.")
    date: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{2}(-\d{2})?$",
        examples=["2026-01", "2026-01-31"],
        description="When it was valid.",
    )
    api_price_per_million_output_tokens: PositiveFloat | None = Field(
        default=None, description="What an API asks, in the same currency, to break even with."
    )
    api_price_per_million_input_tokens: PositiveFloat | None = Field(
        default=None, description="The same for prompts; without it only answers count."
    )
    api_price_source: str | None = Field(
        default=None, description="Whose price that is, and of when."
    )

    @model_validator(mode="after")
    def one_price(self) -> "Cost":
        if self.price_per_node_hour is not None and any(getattr(self, key) for key in PARTS):
            raise ValueError("give a price per node or per part of one, not both")
        if self.api_price_per_million_input_tokens and not self.api_price_per_million_output_tokens:
            raise ValueError("an API's price for input needs that for output beside it")
        return self

    @property
    def is_known(self) -> bool:
        """Whether there is any price of machines."""
        return any(getattr(self, key) is not None for key in PRICES)
