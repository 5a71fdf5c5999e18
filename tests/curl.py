"""Stand in for curl where there is none: as much of it as the documentation's examples use."""

from __future__ import annotations

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main() -> int:
    """Make one request, print its answer; 22 for a refusal, as curl has it."""
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("-sS", action="store_true")
    parser.add_argument("--fail-with-body", action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body")
    parser.add_argument("url")
    given = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in given.headers)
    body = None if given.body is None else given.body.encode()
    try:
        with urlopen(Request(given.url, body, headers, method=given.method), timeout=30) as answer:  # noqa: S310  the pages' own addresses
            sys.stdout.buffer.write(answer.read())
    except HTTPError as error:
        sys.stdout.buffer.write(error.read())
        return 22
    return 0


if __name__ == "__main__":
    sys.exit(main())
