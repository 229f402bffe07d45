"""A profile to render, and KServe's own schemas to hold the result against."""

from collections.abc import Callable
from typing import Any

import pytest

from runners.profiles.model import Profile

MakeProfile = Callable[..., Profile]


@pytest.fixture
def make_profile() -> MakeProfile:
    def make(**changes: Any) -> Profile:
        data = {"name": "standard", "model": {"uri": "hf://Qwen/Qwen2.5-7B-Instruct"}}
        return Profile.model_validate({**data, **changes})

    return make
