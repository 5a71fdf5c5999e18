"""Make every test run the same everywhere: no stop-watch, settings from the test alone, Ctrl-C as it is."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Shared machines pause at will; pytest-timeout ends what hangs.
settings.register_profile("angarium", deadline=None, print_blob=True)
settings.load_profile("angarium")

# What a test needs from outside, such as a database, is named ANGARIUM_TEST_….
for _name in [name for name in os.environ if re.match("ANGARIUM_(?!TEST_)", name)]:
    del os.environ[_name]

# A shell that runs the tests in the background has Ctrl-C ignored; the programs that tests start must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Leave out what takes several machines' worth of processes, unless it is asked for."""
    parser.addoption(
        "--cluster", action="store_true", help="run tests/cluster, which kills, pauses and cuts off servers"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Return True for what is not to be looked at."""
    is_left_out = collection_path == Path(__file__).parent / "cluster" and not config.getoption("--cluster")
    return True if is_left_out else None
