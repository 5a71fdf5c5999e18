"""Make projects and subscriptions what a file says, and say what was changed; what it does not name stays as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from angarium.cli import declared, reading
from angarium.cli.client import ApiProblem, segment
from angarium.cli.command import Session, argument, client_command, option
from angarium.cli.failing import Failure, as_failure

_PAGE = 250


class Result(NamedTuple):
    """What became of one project or subscription: `created`, `changed` (and what of it), or `unchanged`."""

    kind: str
    name: str
    outcome: str
    id: str = ""
    changed: tuple[str, ...] = ()
    secret: str = ""

    def document(self) -> dict[str, Any]:
        """Return it for programs, members that say nothing left out."""
        return {name: value for name, value in self._asdict().items() if value}


@client_command(
    "apply",
    examples=("angarium apply angarium.toml", "angarium apply angarium.toml --dry-run --json"),
)
def apply(
    session: Session,
    file: Annotated[str, argument("FILE", help="What there is to be, as TOML; - is standard input.")],
    dry_run: Annotated[bool, option("--dry-run", help="Change nothing; say what would be.")] = False,
) -> None:
    """Make projects and subscriptions what a file says.

    A subscription is recognised by its tenant and name. What the file does not name stays as it is; what it leaves out
    of something that it names returns to its default. Run again, it changes nothing.
    """
    folder = Path() if file == "-" else Path(file).parent
    projects = declared.read(reading.read_bytes(file), environment=os.environ, folder=folder)
    applying = _Applying(session, is_dry=dry_run)
    try:
        for project in projects:
            applying.project(project)
    except Exception as error:
        raise applying.failure(error) from error
    applying.conclude()


class _Applying:
    """One run of the command."""

    def __init__(self, session: Session, *, is_dry: bool) -> None:
        self._session, self._client = session, session.client
        self._is_dry = is_dry
        self._query = "?dry_run=true" if is_dry else ""
        self._results: list[Result] = []

    def project(self, wanted: declared.DeclaredProject) -> None:
        """Make one project with its subscriptions what the file says."""
        path = f"/v1/projects/{segment(wanted.name)}"
        is_there = self._make_project(path, wanted)
        present = self._subscriptions(path) if is_there and wanted.subscriptions else {}
        for each in wanted.subscriptions:
            found = present.get((each.tenant, each.name), [])
            label = f"{wanted.name}/{each.tenant}/{each.name}"
            if len(found) > 1:
                ids = " and ".join(it["id"] for it in found)
                raise Failure(f"{label} is not clear", why=f"{ids} have that name", fix="rename or delete one of them")
            if found:
                self._change(path, label, found[0], each)
            else:
                self._create(path, label, each, is_in_place=is_there)

    def failure(self, error: Exception) -> Failure:
        """Return why the run ended early; programs are told what had been done, people have seen it."""
        failure = as_failure(error)
        failure.details["results"] = [result.document() for result in self._results]
        return failure

    def conclude(self) -> None:
        """Say what all came to."""
        outcomes = [result.outcome for result in self._results]
        counts = {outcome: outcomes.count(outcome) for outcome in ("created", "changed", "unchanged")}
        if self._session.screen.is_json:
            results = [result.document() for result in self._results]
            self._session.screen.document({"dry_run": self._is_dry, **counts, "results": results})
            return
        would = "would be " if self._is_dry else ""
        self._session.screen.say(f"{would}{', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")

    # -- projects -----------------------------------------------------------------------------------------------------

    def _make_project(self, path: str, wanted: declared.DeclaredProject) -> bool:
        """Make a project what the file says; return whether it had been there."""
        before = self._shown(path)
        after = self._client.send("PUT", f"{path}{self._query}", wanted.document).value
        if before is None:
            self._note(Result("project", wanted.name, "created"))
            return False
        changed = tuple(declared.differences(before, after, declared.PROJECT_MEMBERS))
        self._note(Result("project", wanted.name, "changed" if changed else "unchanged", changed=changed))
        return True

    def _shown(self, path: str) -> dict[str, Any] | None:
        try:
            shown: dict[str, Any] = self._client.get(path).value
        except ApiProblem as problem:
            if problem.status != 404:
                raise
            return None
        return shown

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _subscriptions(self, path: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Return a project's subscriptions by tenant and name."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        after = None
        while True:
            page = self._client.get(f"{path}/subscriptions", limit=_PAGE, after=after).value
            for each in page["data"]:
                found.setdefault((each["tenant"], each["name"]), []).append(each)
            after = page["next"]
            if after is None:
                return found

    def _create(self, path: str, label: str, wanted: declared.DeclaredSubscription, *, is_in_place: bool) -> None:
        document = {"tenant": wanted.tenant, "name": wanted.name, **wanted.document}
        made = {}
        if is_in_place or not self._is_dry:  # A project that was not made checks nothing.
            made = self._client.send("POST", f"{path}/subscriptions{self._query}", document).value
        self._note(Result("subscription", label, "created", made.get("id", ""), secret=made.get("secret") or ""))

    def _change(self, path: str, label: str, present: dict[str, Any], wanted: declared.DeclaredSubscription) -> None:
        patch = declared.patch_to(present, wanted.document)
        target = f"{path}/subscriptions/{segment(present['id'])}{self._query}"
        after = self._client.send("PATCH", target, patch).value
        changed = tuple(declared.differences(present, after, declared.MEMBERS))
        outcome = "changed" if changed else "unchanged"
        self._note(Result("subscription", label, outcome, present["id"], changed, after.get("secret") or ""))

    def _note(self, result: Result) -> None:
        self._results.append(result)
        if self._session.screen.is_json:
            return
        told = f": {', '.join(result.changed)}" if result.changed else ""
        secret = f"  secret {result.secret} (shown this once)" if result.secret else ""
        self._session.screen.line(f"{result.outcome:<9}  {result.kind} {result.name}{told}{secret}")
