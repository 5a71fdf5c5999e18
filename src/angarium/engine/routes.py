"""Make ready what each attempt of a subscription needs: dialect, policy, current url, headers and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from angarium.core import policy as policies
from angarium.core.coalescing import fold, lacking
from angarium.core.masking import Masking
from angarium.dialects.dialect import Body, Item, Sealed, Signing
from angarium.dialects.registry import dialect as dialect_of
from angarium.model.event import Kind
from angarium.model.subscription import Coalesce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from angarium.clock import Moment
    from angarium.core.effects import Delivery
    from angarium.model.event import Entry
    from angarium.model.ids import Ids
    from angarium.model.registry import Project
    from angarium.model.subscription import Subscription
    from angarium.model.wire import Request
    from angarium.vault import Vault


_NEVER_MS = 1 << 62
_NO_STATES: Mapping[int, bytes] = MappingProxyType({})


class Route:
    """A subscription as its deliveries need it; made anew whenever it changes."""

    __slots__ = (
        "_changes_ms",
        "_current",
        "_headers",
        "_masking",
        "_secrets",
        "allow_http",
        "dialect",
        "is_fat",
        "merges",
        "options",
        "owner",
        "policy",
        "ports",
        "subscription",
    )

    def __init__(
        self, subscription: Subscription, project: Project | None, vault: Vault, *, time_scale: float = 1.0
    ) -> None:
        self.subscription = subscription
        self.dialect = dialect_of(subscription.dialect)
        resolved = policies.resolve(self.dialect.policy, subscription.overrides)
        self.policy = policies.scaled(resolved, time_scale) if time_scale != 1 else resolved
        self.merges = self.dialect.traits.merges and self.policy.batch.max_events > 1
        settings = project.settings if project else {}
        self.allow_http = bool(settings.get("allow_http", self.dialect.traits.allows_http))
        self.is_fat = self.dialect.traits.is_fat and settings.get("keep_objects") is not False
        self.ports = frozenset(settings.get("ports", ()))
        self.owner = f"{subscription.project}/{subscription.tenant}"
        number = subscription.number
        self._headers = {
            name: vault.open(sealed, context=b"header:%d" % number).decode("latin-1")
            for name, sealed in subscription.headers.items()
        }
        self._secrets = [
            (vault.open(secret.sealed, context=b"subscription:%d" % number), secret.expires_ms)
            for secret in subscription.secrets
        ]
        self.options = {**subscription.all_options, **_opened(subscription, vault)}
        self._masking = Masking((*self._headers.values(), *(self.options[name] for name in subscription.sealed)))
        self._current: tuple[bytes, ...] = ()
        self._changes_ms = 0

    def secrets(self, now_ms: int) -> tuple[bytes, ...]:
        """Return the secrets that sign now, newest first."""
        if now_ms < self._changes_ms:
            return self._current
        self._current = tuple([plain for plain, until_ms in self._secrets if until_ms is None or until_ms > now_ms])
        ends = [until_ms for _, until_ms in self._secrets if until_ms is not None and until_ms > now_ms]
        self._changes_ms = min(ends, default=_NEVER_MS)
        return self._current

    def without_secrets(self, answer: bytes) -> bytes:
        """Return an answer with what is secret of the request, which some receivers echo, masked."""
        return self._masking.mask(answer)

    def lacking(self, delivery: Delivery, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the entries of a delivery in whose place the state of their objects must be sent."""
        if not self.is_fat:
            return ()
        how = self.policy.batch.coalesce if delivery.is_batch else Coalesce.NONE
        return lacking(entries if delivery.is_batch else entries[-1:], how)

    def encode(
        self,
        delivery: Delivery,
        entries: Sequence[Entry],
        ids: Ids,
        now: Moment,
        states: Mapping[int, bytes] = _NO_STATES,
    ) -> Body:
        """Return the body of a delivery of these entries; `states`, by offset, are sent in place of missing data."""
        if delivery.is_batch:
            shown = fold(entries, self.policy.batch.coalesce, self.dialect.traits.outlasts, states=states)
            items = tuple([_item(entry, ids, state) for entry, state in shown])
            sealed = Sealed(ids.delivery(delivery.key), items, now.wall_ms, is_batch=True)
        else:
            last = entries[-1]
            sealed = Sealed("", (_item(last, ids, states.get(last.offset)),), now.wall_ms)
        return self.dialect.encode(sealed, self.options)

    def sign(self, delivery: Delivery, body: Body, message_id: str, now: Moment, *, is_replay: bool) -> Request:
        """Return one attempt's request."""
        return self.dialect.sign(
            body,
            Signing(
                self.subscription.url,
                message_id,
                now.wall_ms // 1000,
                delivery.attempts + 1,
                self.secrets(now.wall_ms),
                self._headers,
                self.options,
                is_replay=is_replay,
                is_test=delivery.origin == "test",
            ),
        )


def event_id(entry: Entry, ids: Ids) -> str:
    """Return the id of an entry's event: a replay shows the original's."""
    if entry.kind == Kind.REPLAY:
        return ids.event(entry.partition, entry.of, entry.of_ms)
    return ids.event(entry.partition, entry.offset, entry.accepted_ms)


def _item(entry: Entry, ids: Ids, state: bytes | None) -> Item:
    event = entry.event
    assert event is not None, "an entry that is sent has an event"
    if entry.kind == Kind.REPLAY:
        return Item(event_id(entry, ids), event, entry.of_ms, entry.of, entry.partition, state)
    is_resync = entry.kind == Kind.RESYNC
    return Item(event_id(entry, ids), event, entry.accepted_ms, entry.offset, entry.partition, state, is_resync)


def _opened(subscription: Subscription, vault: Vault) -> dict[str, str]:
    """Return the dialect's secret options in plain text."""
    context = b"option:%d" % subscription.number
    return {name: vault.open(sealed, context=context).decode() for name, sealed in subscription.sealed.items()}
