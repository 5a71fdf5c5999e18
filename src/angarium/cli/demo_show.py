"""Show the demo: who takes part, each request as it arrives, and what it came to. With `--json`, NDJSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from angarium.cli.demo_cast import CAST, PROJECT, TIME_SCALE, Part
from angarium.cli.demo_server import Running
from angarium.cli.demo_tally import Arrival, Tally
from angarium.cli.screen import Screen
from angarium.core.verifying import Problem

_COLOURS = {"chat": "cyan", "billing": "magenta", "audit": "yellow", "search": "blue", "legacy": "bright_black"}
_EVENT_COLUMNS = 40


class Show:
    """Print what happens, as it happens."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def opening(self, server: Running) -> None:
        """Introduce the server and the cast."""
        if self._screen.is_json:
            parts = [{"name": part.name, "tenant": part.tenant, "types": part.types} for part in CAST]
            self._document("started", url=server.url, project=PROJECT, time_scale=TIME_SCALE, subscriptions=parts)
            return
        self._line(("Angarium ", "bold"), ("pushes what happened to everyone who subscribed.", ""))
        self._line()
        self._line((f"{'server':<9}", "bold"), (f"{server.url}, a real one; its store is in {server.folder}", ""))
        self._line((f"{'events':<9}", "bold"), ("GitHub's own examples, three organisations' worth", ""))
        self._line(
            (f"{'time':<9}", "bold"),
            (f"a minute's wait for a retry is a second here (ANGARIUM_TIME_SCALE={TIME_SCALE})", ""),
        )
        self._line()
        for part in CAST:
            self._line((f"{part.name:<9}", _COLOURS[part.name]), (part.about, ""))
        self._line()
        head = f"{'TIME':<10}{'RECEIVER':<10}{'EVENT':<{_EVENT_COLUMNS}}{'SIGNATURE':<11}{'ATTEMPT':<9}ANSWER"
        self._line((head, "bold"))

    def published(self, events: int) -> None:
        """Tell of a burst that was published at once."""
        if self._screen.is_json:
            self._document("published", events=events)
        else:
            self._line((f"{_now()}  {events} edits of one issue are published at once", "bold"))

    def arrived(self, arrival: Arrival) -> None:
        """Show one request."""
        if self._screen.is_json:
            self._document("received", **_arrival(arrival))
            return
        mark, style = ("NOT VALID", "bold red") if isinstance(arrival.found, Problem) else ("verified", "green")
        self._row(
            arrival.part.name,
            _what(arrival),
            (mark, style),
            str(arrival.attempt),
            (_answer(arrival), "green" if arrival.is_taken else "red"),
        )
        if isinstance(arrival.found, Problem):
            self._line((f"{'':<20}{arrival.found.detail}; {arrival.found.fix}", "red"))

    def unanswered(self, part: Part, delivery: Mapping[str, Any]) -> None:
        """Show that an attempt found nobody."""
        attempts, reason = delivery["attempts"], delivery["reason"]
        if self._screen.is_json:
            self._document("unanswered", subscription=part.name, type=delivery["type"], attempt=attempts, reason=reason)
        else:
            self._row(part.name, delivery["type"], ("", ""), str(attempts), (f"{reason}, nobody is there", "red"))

    def closing(self, tally: Tally, *, waiting: int, took_s: float) -> None:
        """Sum up."""
        came = _summary(tally, waiting, took_s)
        if self._screen.is_json:
            self._document("summary", **came)
            return
        said = (
            "{published} published, {delivered} delivered, {retried} attempts again, {folded} folded, {waiting} waiting"
        )
        self._line()
        self._line((said.format_map(came), "bold"), (f"  ({took_s:.1f} s)", ""))
        for part in CAST:
            self._line(("  ", ""), (f"{part.name:<9}", _COLOURS[part.name]), (_came_to(tally, part, waiting), ""))
        self._line()
        if came["ok"]:
            self._line(
                ("✓ all that could arrive has arrived: ", "green"),
                ("in order, byte for byte, ", ""),
                (f"{came['requests']} of {came['requests']} signatures verified", ""),
            )
        else:
            wrong = "{missing} missing, {unverified} of {requests} not verified, {out_of_order} out of order"
            self._line((f"✗ {wrong.format_map(came)}", "bold red"))

    def next_steps(self, server: Running | None) -> None:
        """Name the commands to try: on this server while it runs, else on one's own."""
        say = self._screen.say
        if self._screen.is_json:
            return
        say("")
        if server is None:
            say("next:  angarium serve                              your own server")
            say("       angarium receive --port 9000                a receiver that verifies and shows")
            say("       angarium projects create demo               … and the rest is on the first page of the docs")
            return
        say("more is published until Ctrl-C; meanwhile, in another terminal:")
        say(f"  export ANGARIUM_URL={server.url} ANGARIUM_API_KEY={server.key} ANGARIUM_PROJECT={PROJECT}")
        say("  angarium subscriptions list")
        say("  angarium deliveries list --state retrying")
        say("  angarium listen --tenant Codertocat")
        say("")

    def _row(self, name: str, what: str, signature: tuple[str, str], attempt: str, answer: tuple[str, str]) -> None:
        self._line(
            (f"{_now()}  ", "dim"),
            (f"{name:<10}", _COLOURS[name]),
            (f"{what:<{_EVENT_COLUMNS}}", ""),
            (f"{signature[0]:<11}", signature[1]),
            (f"{attempt:<9}", "bold" if attempt != "1" else ""),
            answer,
        )

    def _line(self, *words: tuple[str, str]) -> None:
        self._screen.console().print(Text.assemble(*words), soft_wrap=True)

    def _document(self, kind: str, **members: object) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._screen.document({"kind": kind, "at": at, **members})


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _what(arrival: Arrival) -> str:
    first = arrival.types[0] if arrival.types else "?"
    more = f" and {len(arrival.types) - 1} more" if len(arrival.types) > 1 else ""
    folded = f", {arrival.folded + len(arrival.types)} in {len(arrival.types)}" if arrival.folded else ""
    return f"{first}{more}{folded}"


def _answer(arrival: Arrival) -> str:
    match arrival.answer.status:
        case 500:
            return "500, to be tried again"
        case 429:
            return "429, wait a second"
        case status:
            return str(status)


def _came_to(tally: Tally, part: Part, waiting: int) -> str:
    count = tally.count(part)
    if part.is_dead:
        return f"{_several(waiting, 'event')} wait at the cost of a probe now and then, until it is back"
    folded = f" in {_several(count.requests, 'request')}, {count.folded} folded away" if part.is_folding else ""
    retried = f", with {_several(count.retried, 'more attempt')}" if count.retried else ""
    missing = f", {count.missing} MISSING" if count.missing else ""
    return f"{count.taken} of {count.owed} events{folded}{retried}{missing}"


def _several(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _arrival(arrival: Arrival) -> dict[str, Any]:
    problem = arrival.found if isinstance(arrival.found, Problem) else None
    return {
        "subscription": arrival.part.name,
        "id": arrival.id,
        "types": arrival.types,
        "folded": arrival.folded,
        "verified": problem is None,
        "fault": problem and problem.fault,
        "attempt": arrival.attempt,
        "status": arrival.answer.status,
    }


def _summary(tally: Tally, waiting: int, took_s: float) -> Mapping[str, Any]:
    counts = {part.name: tally.count(part) for part in CAST}
    living = [counts[part.name] for part in CAST if not part.is_dead]
    return {
        "ok": tally.is_right(),
        "published": tally.published,
        "delivered": sum(count.taken for count in living),
        **{
            name: sum(getattr(count, name) for count in living)
            for name in ("requests", "retried", "folded", "missing", "unverified", "out_of_order")
        },
        "waiting": waiting,
        "took_s": round(took_s, 1),
        "subscriptions": {name: count._asdict() for name, count in counts.items()},
    }
