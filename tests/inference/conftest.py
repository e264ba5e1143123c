"""A model folder of each kind, for what has to hold for all of them."""

import pytest


@pytest.fixture(params=["tiny_model", "tiny_stackgan"])
def any_model(request):
    """A model folder of each kind."""
    return request.getfixturevalue(request.param)
