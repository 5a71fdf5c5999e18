"""Make every test run the same everywhere: Hypothesis without a stop-watch, settings from the test alone."""

from __future__ import annotations

import os

from hypothesis import settings

# Shared machines pause at will; pytest-timeout ends what hangs.
settings.register_profile("angarium", deadline=None, print_blob=True)
settings.load_profile("angarium")

for _name in [name for name in os.environ if name.startswith("ANGARIUM_")]:
    del os.environ[_name]
