"""List the commands and run one of them. Only the module of the command that was asked for is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from angarium import __version__
from angarium.cli.failing import INTERRUPTED, MISUSED, Failure
from angarium.cli.screen import Screen

COMMANDS = {
    "serve": "Run the server: API and engine.",
    "demo": "See it work: a server, receivers and real events, live.",
    "doctor": "Check what the server needs; say how to mend it.",
    "bench": "Measure a running server: events per second, and how long they take.",
    "apply": "Make projects and subscriptions what a file says.",
    "projects": "List, create, show and delete projects.",
    "keys": "List, create and delete API keys.",
    "subscriptions": "Say who wants which events, where, and how.",
    "publish": "Publish events.",
    "events": "List and show events.",
    "deliveries": "List and show deliveries, or deliver again.",
    "objects": "List and show objects as they stand.",
    "resync": "Send a subscription objects as they stand.",
    "replay": "Deliver a subscription's past events again.",
    "jobs": "List, show and cancel jobs, such as resyncs.",
    "listen": "Post what a feed brings to a local program.",
    "receive": "Run a test receiver that verifies and shows, or misbehaves.",
    "store": "Bring a store's schema up to date, copy a store, or check it.",
    "verify": "Verify a signed request, and say why where it fails.",
}
"""Each command with its line in the list; it is what its module calls by the same name."""


class _Commands(click.Group):
    """All commands, of which one is loaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in COMMANDS:
            raise click.exceptions.NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)
        command = getattr(import_module(f"angarium.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command), f"{cmd_name} is not made by client_command, local_command or group"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_EPILOG = """\b
Examples:
  angarium demo --once
  angarium publish item.update 49 --project demo

\b
Completion for bash (zsh, fish alike): eval "$(_ANGARIUM_COMPLETE=bash_source angarium)"
"""


@click.group(cls=_Commands, epilog=_EPILOG)
@click.version_option(__version__, message="angarium %(version)s")
def angarium() -> None:
    """Angarium pushes what happened to everyone who subscribed: signed, retried, until it has arrived."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = angarium.main(given, prog_name="angarium", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stdout.write(f"{error.format_message()}\n")
        return MISUSED
    except click.ClickException as error:
        return _misused(error, is_json="--json" in given)
    except click.Abort:
        return INTERRUPTED
    return int(code or 0)


def _misused(error: click.ClickException, *, is_json: bool) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "angarium"
    failure = Failure(
        f"{path} cannot be run like this",
        why=error.format_message(),
        fix=f"see: {path} --help",
        code="usage",
        exit_code=MISUSED,
    )
    Screen(is_json=is_json).failure(failure)
    return MISUSED
