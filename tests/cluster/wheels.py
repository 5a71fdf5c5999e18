"""Build wheels of this tree and of a newer one, and install them in folders of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from angarium import __version__

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
MIGRATION = "9999_next.sql"
NEWER = "9999.0"

_MIGRATIONS = {
    "postgres": "ALTER TABLE event ADD COLUMN next text; CREATE TABLE next (number integer PRIMARY KEY);",
    "sqlite": "ALTER TABLE event ADD COLUMN next TEXT;",
}


def install(folder: Path, *, is_newer: bool) -> Path:
    """Build a wheel, of the tree as it is or of a newer one with one more migration; return where it is installed."""
    tree, installed = folder / "tree", folder / "installed"
    tree.mkdir(parents=True)
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    if is_newer:
        _renew(tree)
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=tree)
    [wheel] = folder.glob("*.whl")
    _run([sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(installed), str(wheel)])
    return installed


def _renew(tree: Path) -> None:
    package = tree / "src" / "angarium"
    for store, sql in _MIGRATIONS.items():
        (package / "store" / store / "migrations" / MIGRATION).write_text(sql)
    for file in (package / "__init__.py", tree / "pyproject.toml"):
        _name(file, NEWER)


def named(folder: Path, version: str) -> Path:
    """Copy the program as it is under another version, which tells in each request who sent it; return where it is."""
    shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))
    _name(folder / "angarium" / "__init__.py", version)
    return folder


def _name(file: Path, version: str) -> None:
    file.write_text(file.read_text().replace(f'"{__version__}"', f'"{version}"', 1))


def _run(command: list[str], *, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
