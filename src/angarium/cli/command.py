"""Turn functions into commands with the flags that all have: `--json`, `--debug`; for clients `--url --key --project`.

A command's first parameter is what it works with, a `Session` with a server or the bare `Screen`; the rest are its own
flags, each annotated with an `option` or `argument`. It returns its exit code, or None for 0, and raises whatever went
wrong: here that becomes three lines.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

import click

from angarium.cli.client import ApiClient, Reply, segment
from angarium.cli.failing import INTERRUPTED, MISUSED, Failure, as_failure
from angarium.cli.screen import Screen

if TYPE_CHECKING:
    from angarium.settings import ClientSettings

Run = Callable[..., int | None]

_HELP_COLUMNS = 110


class Flag(NamedTuple):
    """What is said of a parameter beside its type."""

    help: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    least: int | None = None
    most: int | None = None
    is_argument: bool = False


def option(*names: str, help: str, least: int | None = None, most: int | None = None) -> Flag:  # noqa: A002  click's word
    """Describe a flag; without names it is called as its parameter."""
    return Flag(help, names, least=least, most=most)


def argument(metavar: str, *, help: str) -> Flag:  # noqa: A002  click's word
    """Describe what is given by its place."""
    return Flag(help, metavar=metavar, is_argument=True)


Json = Annotated[bool, option("--json", help="Print JSON documents, errors too.")]
Debug = Annotated[bool, option("--debug", help="Show the traceback of an error.")]
Url = Annotated[str | None, option("--url", help="The server. [ANGARIUM_URL, http://127.0.0.1:8080]")]
Key = Annotated[str | None, option("--key", help="The API key. [ANGARIUM_API_KEY]")]
Project = Annotated[str | None, option("--project", help="The project. [ANGARIUM_PROJECT]")]

_FOR_ALL = {"json": Json, "debug": Debug}
_FOR_CLIENTS = {"url": Url, "key": Key, "project": Project}


class Session:
    """A client command's way to its server, its project and the screen."""

    def __init__(self, screen: Screen, client: ApiClient, settings: ClientSettings) -> None:
        self.screen, self.client = screen, client
        self.project, self.key = settings.project, settings.api_key

    def path(self, *segments: str) -> str:
        """Return a path below the project, such as `/v1/projects/p/events/evt_1`."""
        if not self.project:
            raise Failure(
                "no project is named",
                why="neither --project nor ANGARIUM_PROJECT nor project in angarium.toml is set",
                fix="name one: --project demo; make one with: angarium projects create demo",
                code="no_project",
                exit_code=MISUSED,
            )
        return "/".join(["/v1/projects", *map(segment, (self.project, *segments))])

    def show(self, reply: Reply, people: Callable[[Any], None]) -> None:
        """Print an answer: the document as it came, or as `people` prints it."""
        if self.screen.is_json:
            self.screen.document(reply.body or b"{}")
        else:
            people(reply.value)


def group(name: str, about: str) -> click.Group:
    """Return a group of commands."""
    return click.Group(name, help=about, no_args_is_help=True)


def client_command(
    name: str, *, examples: tuple[str, str], into: click.Group | None = None
) -> Callable[[Run], click.Command]:
    """Make a command that talks to a server; its first parameter is a `Session`."""

    def work(run: Run, screen: Screen, given: dict[str, Any]) -> int | None:
        target = {flag: given.pop(flag) for flag in _FOR_CLIENTS}
        with _session(screen, target) as session:
            return run(session, **given)

    return lambda run: _into(into, _command(name, run, work, {**_FOR_CLIENTS, **_FOR_ALL}, examples))


def local_command(
    name: str, *, examples: tuple[str, str], into: click.Group | None = None
) -> Callable[[Run], click.Command]:
    """Make a command that needs no server to talk to; its first parameter is a `Screen`."""

    def work(run: Run, screen: Screen, given: dict[str, Any]) -> int | None:
        return run(screen, **given)

    return lambda run: _into(into, _command(name, run, work, _FOR_ALL, examples))


def _into(parent: click.Group | None, command: click.Command) -> click.Command:
    if parent is not None:
        parent.add_command(command)
    return command


@contextmanager
def _session(screen: Screen, target: Mapping[str, str | None]) -> Iterator[Session]:
    from angarium.settings import client_settings  # noqa: PLC0415  --help needs none

    given = {"api_key" if flag == "key" else flag: text for flag, text in target.items() if text}
    settings = client_settings(flags=given)
    with ApiClient(settings.url, settings.api_key) as client:
        yield Session(screen, client, settings)


def _command(
    name: str,
    run: Run,
    work: Callable[[Run, Screen, dict[str, Any]], int | None],
    shared: Mapping[str, Any],
    examples: tuple[str, str],
) -> click.Command:
    def callback(*, json: bool, debug: bool, **given: Any) -> int:  # noqa: ANN401  each flag's own
        screen = Screen(is_json=json)
        return _guarded(screen, lambda: work(run, screen, given), debug=debug)

    own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    return click.Command(
        name,
        callback=callback,
        params=[_parameter(each.name, each.annotation, each.default) for each in own]
        + [_parameter(flag, kind, False if kind in {Json, Debug} else None) for flag, kind in shared.items()],
        help=inspect.getdoc(run),
        # \b keeps the help's formatter from joining the lines.
        epilog="\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples),
        context_settings={"max_content_width": _HELP_COLUMNS},
    )


def _parameter(name: str, annotation: Any, default: Any) -> click.Parameter:  # noqa: ANN401  what a signature holds
    """Return click's own form of a parameter; one without a default is required."""
    whole, flag = get_args(annotation)
    kind, is_list = _kind(whole)
    is_required = default is inspect.Parameter.empty
    shared: dict[str, Any] = {
        "type": _type(kind, flag),
        "required": is_required,
        "callback": lambda _context, _parameter, value: _shape(kind, value),
        "help": flag.help,
    }
    if not is_required:
        shared["default"] = default
    if flag.is_argument:
        return click.Argument([name], metavar=flag.metavar if is_required else f"[{flag.metavar}]", **shared)
    names = flag.names or (f"--{name.replace('_', '-')}",)
    is_shown = default not in (None, False, inspect.Parameter.empty) and kind is not bool
    return click.Option([name, *names], multiple=is_list, is_flag=kind is bool, show_default=is_shown, **shared)


def _kind(whole: Any) -> tuple[type, bool]:  # noqa: ANN401  the form of a type
    """Return the type of one value, and whether there may be several: `list[str] | None` is (str, True)."""
    if NoneType in get_args(whole):
        return _kind(next(part for part in get_args(whole) if part is not NoneType))
    return (get_args(whole)[0], True) if get_origin(whole) is list else (whole, False)


def _type(kind: type, flag: Flag) -> click.ParamType[Any]:
    if kind is bool:
        return click.BOOL
    if issubclass(kind, StrEnum):
        return click.Choice([member.value for member in kind])
    if kind in {int, float} and (flag.least, flag.most) != (None, None):
        return (click.IntRange if kind is int else click.FloatRange)(flag.least, flag.most)
    return click.types.convert_type(kind)


def _shape(kind: type, value: object) -> object:
    """Return what click read as the command's signature says: members of enums, lists, None for none."""
    match value:
        case ():
            return None
        case tuple():
            return list(value)
        case str() if issubclass(kind, StrEnum):
            return kind(value)
        case _:
            return value


def _guarded(screen: Screen, work: Callable[[], int | None], *, debug: bool) -> int:
    try:
        return work() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has read enough; nothing may be written at the interpreter's end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        failure = as_failure(error)
        screen.failure(failure)
        return failure.exit_code
