"""Run a command of angarium's while a thread looks at what it does: a profile by samples, no tool needed.

`python -m bench.sampled PROFILE COMMAND …` writes the profile when the command ends. A sample is taken when the sampler
gets the interpreter's lock, so time in C without the lock shows as its caller's.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

_EVERY_S = 0.002
_SHOWN = 45


class Sampler:
    """Count which functions run, and which are on the way to them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._own: Counter[str] = Counter()
        self._with_calls: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()
        self._samples = 0
        atexit.register(self.write)

    def run(self) -> None:
        """Take samples until the process ends."""
        mine = threading.get_ident()
        while True:
            time.sleep(_EVERY_S)
            self._samples += 1
            for thread, frame in sys._current_frames().items():  # noqa: SLF001  the one way to see other threads' frames
                if thread != mine:
                    self._take(frame)

    def write(self) -> None:
        """Write what was seen, in shares of all samples of a thread."""
        parts = (("own time", self._own), ("own time by line", self._lines), ("with calls", self._with_calls))
        text = [f"{self._samples} samples"]
        for title, counter in parts:
            text += ["", f"-- {title}"]
            text += [f"{count / self._samples:7.1%}  {name}" for name, count in counter.most_common(_SHOWN)]
        self._file.write_text("\n".join(text) + "\n", encoding="utf-8")

    def _take(self, frame: FrameType) -> None:
        self._own[_name(frame)] += 1
        self._lines[f"{_name(frame)}:{frame.f_lineno}"] += 1
        seen: set[str] = set()
        above: FrameType | None = frame
        while above is not None:
            seen.add(_name(above))
            above = above.f_back
        self._with_calls.update(seen)


def _name(frame: FrameType) -> str:
    code = frame.f_code
    parts = code.co_filename.rsplit("/", 3)[-2:]
    return f"{'/'.join(parts)} {code.co_qualname}"


def main() -> None:
    """Take the profile's path off the command line, and run the rest."""
    file = Path(sys.argv.pop(1))
    threading.Thread(target=Sampler(file).run, name="sampler", daemon=True).start()
    from angarium.cli.main import main as run  # noqa: PLC0415  is to be seen by the sampler

    sys.argv[0] = "angarium"
    run()


if __name__ == "__main__":
    main()
