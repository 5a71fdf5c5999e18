"""Say what is right and wrong on this machine, line by line, with the remedy. The looking is `doctor_checks`'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from angarium.cli.command import Key, Url, local_command, option
from angarium.cli.doctor_checks import Visit, check_all
from angarium.cli.doctor_findings import Finding, Level
from angarium.cli.screen import Screen
from angarium.errors import SettingsWrong
from angarium.settings import Settings, client_settings, load

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@local_command("doctor", examples=("angarium doctor", "angarium doctor --url https://push.example.com --json"))
def doctor(
    screen: Screen,
    resolve: Annotated[str, option(help="A name that must have an address.")] = "example.com",
    url: Url = None,
    key: Key = None,
) -> int:
    """Check settings, store, machine and server, and say how to mend what is wrong.

    The exit code is 0 when all is well, 1 with warnings, 2 with failures.
    """
    given = {name: text for name, text in (("url", url), ("api_key", key)) if text}
    worst = Level.OK
    findings = []
    for finding in _examine(given, resolve):
        worst = max(worst, finding.level)
        if screen.is_json:
            findings.append({**finding._asdict(), "level": finding.level.name.lower()})
        else:
            _show(screen, finding)
    if screen.is_json:
        screen.document({"level": worst.name.lower(), "checks": findings})
    return worst


def _examine(flags: dict[str, str], resolve: str) -> Iterator[Finding]:
    try:
        settings = load(flags=flags)
    except SettingsWrong as error:
        for problem in str(error).splitlines():
            yield Finding(Level.FAIL, "settings", problem, "correct it; all there are: python -m angarium.settings")
        return
    yield _settings(settings)
    yield from check_all(Visit(settings, client_settings(flags=flags), resolve))


def _settings(settings: Settings) -> Finding:
    if settings.dev:
        return Finding(
            Level.WARN, "settings", "ANGARIUM_DEV allows what only tests may do", "unset ANGARIUM_DEV on a real server"
        )
    return Finding(Level.OK, "settings", "all can be read")


def _show(screen: Screen, finding: Finding) -> None:
    screen.line(f"{finding.level.name.lower():<5} {finding.subject:<11} {finding.found}", style=_STYLES[finding.level])
    if finding.fix:
        screen.line(f"      {'':<11} fix: {finding.fix}")
