"""Make every test run the same everywhere: no stop-watch, settings from the test alone, Ctrl-C as it is."""

from __future__ import annotations

import os
import re
import signal

from hypothesis import settings

# Shared machines pause at will; pytest-timeout ends what hangs.
settings.register_profile("angarium", deadline=None, print_blob=True)
settings.load_profile("angarium")

# What a test needs from outside, such as a database, is named ANGARIUM_TEST_….
for _name in [name for name in os.environ if re.match("ANGARIUM_(?!TEST_)", name)]:
    del os.environ[_name]

# A shell that runs the tests in the background has Ctrl-C ignored; the programs that tests start must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
