"""What every section of a profile is built from."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _as_text(value: Any) -> Any:
    """A number where text is meant: `cpu: 4` is what Kubernetes takes too."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


AsText = Annotated[str, BeforeValidator(_as_text)]


class Section(BaseModel):
    """A strict part of a profile."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
