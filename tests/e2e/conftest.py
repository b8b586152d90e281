"""What several of these stories use."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from tests.support.browser import running_chromium
from tests.support.devnet import Running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def restarts(network: Running) -> Iterator[ExitStack]:
    """Nodes of a module's network that were killed and are back; they stop with it."""
    with ExitStack() as stack:
        yield stack
