"""Run the command line as `python -m angarium`."""

from __future__ import annotations

import sys

from angarium.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
