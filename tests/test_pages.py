"""The examples' reader: what it takes from a page, and that a page which promises too much fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.pages import Block, Expectation, read, script

PAGE = """
1. Indented:

   ```bash
   greeting=hello
   ```

```sh
rm -rf this-does-not-run
```

```bash terminal 9000
angarium receive
```

```bash
echo $greeting
```

<!-- expect: hello -->
<!-- expect 9000: verified -->

```python
print(1)
```
"""


def test_a_page_is_read_in_order() -> None:
    assert read(PAGE) == [
        Block("bash", "", "greeting=hello\n"),
        Block("sh", "", "rm -rf this-does-not-run\n"),
        Block("bash", "9000", "angarium receive\n"),
        Block("bash", "", "echo $greeting\n"),
        Expectation("", "hello"),
        Expectation("9000", "verified"),
        Block("python", "", "print(1)\n"),
    ]


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [
        ("```bash\na=1\n```\n```bash\necho $a$a\n```\n<!-- expect: 11 -->", 0, "11\n"),
        ("```bash\necho 'it''s'\n```\n<!-- expect: it's -->", 1, "its\nnot in the output: it's\n"),
        ("```bash\necho one\nfalse\necho two\n```", 1, "one\n"),
        ("```sh\nexit 3\n```", 0, ""),
        ("```bash terminal 1\nfalse\n```", 1, "nothing listens on 1\n"),
    ],
)
def test_a_page_s_script_ends_as_the_page_deserves(page: str, code: int, said: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script(read(page))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, said)
