"""Say what requests to the native API may hold. Meaning is checked by the operations; types and names here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME_MAX = 256


def _as_text(value: object) -> object:
    """Take a whole number for the text that it is written as: publishers' own ids may be either."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[
    str, BeforeValidator(_as_text, json_schema_input_type=str | int), Field(min_length=1, max_length=NAME_MAX)
]
"""A publisher's own id: a tenant, an object's id."""


class Asked(BaseModel):
    """What every document obeys: no unknown members, no guessing at types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return the members that were given, null ones too."""
        return self.model_dump(exclude_unset=True)


# -- registry ----------------------------------------------------------------------------------------------------------


class ObjectAsked(Asked):
    """What a project says of one of its objects."""

    actions: list[str] | None = Field(None, description="Its actions; left out: the dialect's.")
    window: str | None = Field(None, description="The data field that a resync's window is about.")
    url: str | None = Field(None, description="The address where one is fetched: {tenant}, {object}, {object_id}.")
    schema_: dict[str, Any] | bool | None = Field(None, alias="schema", description="A JSON Schema of its data.")
    enforce: bool | None = Field(None, description="Refuse what breaks the schema.")


class RateAsked(Asked):
    """How much a minute."""

    per_minute: int | None = None


class LoginAsked(Asked):
    """How the publisher's own login joins in when a user grants an app access."""

    url: str | None = Field(None, description="Where users log in.")
    key: str | None = Field(None, description="What their assertions are signed with (HS256); never read back.")
    expires_in: int | None = Field(None, description="How long access tokens live, in seconds; 30 days.")


class SettingsAsked(Asked):
    """A project's settings."""

    verification: Literal["none", "challenge", "cloudevents"] | None = Field(
        None, description="How a receiver shows that it wants to be pushed to."
    )
    allow_http: bool | None = Field(None, description="Whether addresses may be http.")
    ports: list[int] | None = Field(None, description="Further ports that may be pushed to.")
    open_registration: bool | None = Field(None, description="Whether anybody may subscribe over an older API.")
    retention_days: int | None = Field(None, description="How long events and deliveries are kept.")
    keep_objects: bool | None = Field(None, description="Whether the current state of objects is kept.")
    rate: RateAsked | None = Field(None, description="How much a tenant may publish.")
    login: LoginAsked | None = Field(None, description="The publisher's own login, for apps that ask for access.")


class ProjectAsked(Asked):
    """A project as it is to be; for a change, what of it changes (RFC 7396)."""

    dialect: str | None = Field(None, description="The wire format of its subscriptions; left out: standard.")
    objects: dict[str, ObjectAsked | None] | None = Field(None, description="Its objects; left out: the dialect's.")
    settings: SettingsAsked | None = None

    def given(self) -> dict[str, Any]:
        """Return the members that were given, null ones too, by their names in JSON."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class TenantAsked(Asked):
    """What is said of a tenant."""

    title: str | None = Field(None, max_length=256)
    attributes: dict[str, Any] | None = None


class KeyAsked(Asked):
    """A new API key."""

    scope: Literal["admin", "publish", "manage", "read", "tenant"]
    tenant: Name | None = Field(None, description="Whose it is, for the scope tenant.")
    name: str | None = Field(None, max_length=256)
    expires_in: int | None = Field(None, ge=1, le=10 * 366 * 86_400, description="How long it works, in seconds.")
    actor: dict[str, Any] | None = Field(None, description="On whose behalf its holder acts.")


# -- apps and grants --------------------------------------------------------------------------------------------------


class AppAsked(Asked):
    """A new app."""

    name: str = Field(min_length=1, max_length=256)
    url: str = Field(description="Where it lives: what it subscribes lies within.")
    redirect_uri: str | None = Field(None, description="Where its users return to when they have granted it access.")
    secret: str | None = Field(None, description="What it signs with; left out: made.")


class AppSecretAsked(Asked):
    """An app's new secret."""

    secret: str | None = Field(None, description="Left out: made.")


class GrantAsked(Asked):
    """What a user of a tenant allows an app."""

    app: str = Field(description="The app's id.")
    tenant: Name | None = Field(None, description="Whose data; left out: default.")
    user: Name = Field(description="Who allows it.")
    sub_domain: str | None = Field(None, max_length=256, description="What pushes say of the tenant.")
    email: str | None = Field(None, max_length=320, description="The user's.")
    scope: str | None = Field(None, description="Such as clients:create api/subs; left out: all of the user's rights.")
    permissions: list[str] | None = Field(None, description="Event types that the user may see; null: all.")
    expires_in: int | None = Field(None, ge=1, le=10 * 366 * 86_400, description="The token's life, in seconds.")
    code: bool | None = Field(None, description="Make a code, which the app exchanges for its token.")
    redirect_uri: str | None = Field(None, max_length=2048, description="What the app must name with the code.")
    code_challenge: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{43}$", description="PKCE's (S256), whose verifier the app must show."
    )


class GrantChange(Asked):
    """What of a grant changes."""

    permissions: list[str] | None = Field(None, description="Event types that the user may see; null: all.")


# -- subscriptions -----------------------------------------------------------------------------------------------------


class BatchAsked(Asked):
    """When a batch is full."""

    max_events: int | None = Field(None, description="1 to 1,000")
    max_wait_ms: int | None = Field(None, description="0 to 600,000")
    max_bytes: int | None = Field(None, description="1,024 to 4,194,304")
    coalesce: Literal["none", "operations", "latest"] | None = None


class RetryAsked(Asked):
    """The waits between attempts."""

    delays_s: list[float] | None = Field(None, description="At most 100, each 1 second to 30 days.")
    give_up: bool | None = Field(None, description="False: the last delay repeats for ever.")


class SubscriptionChange(Asked):
    """What of a subscription changes (RFC 7396): null stands for the default, what is left out stays."""

    url: str | None = Field(None, description="Where to push; none for pull.")
    types: list[str] | None = Field(None, description="Such as item.*, *.delete, item.update; left out: all.")
    name: str | None = None
    description: str | None = None
    dialect: str | None = Field(None, description="The wire format; left out: the project's.")
    filter: dict[str, Any] | None = Field(None, description="A JSON pattern over the event.")
    headers: dict[str, str | None] | None = Field(None, description="Headers to add; values are never read back.")
    ordering: Literal["object", "strict", "none"] | None = None
    batch: BatchAsked | None = None
    max_in_flight: int | None = Field(None, description="1 to 256")
    rate: RateAsked | None = None
    retry: RetryAsked | None = None
    timeout_s: float | None = Field(None, description="1 to 60")
    kind: Literal["push", "pull"] | None = None
    options: dict[str, Any] | None = Field(None, description="What one dialect alone knows.")


class SubscriptionAsked(SubscriptionChange):
    """A new subscription. Only `url` is required, unless its kind is pull."""

    tenant: Name | None = Field(None, description="Whose events; left out: default, or the key's own.")
    secret: str | None = Field(None, description="What to sign with; left out: made.")


class RotationAsked(Asked):
    """How a secret is rotated."""

    overlap_s: int = Field(86_400, ge=0, le=30 * 86_400, description="How long the old secret signs beside the new.")
    secret: str | None = Field(None, description="The new secret; left out: made.")


class ReplayAsked(Asked):
    """Which of its past events a subscription is sent again."""

    from_: str | None = Field(None, alias="from", description="From this moment on (RFC 3339).")
    until: str | None = Field(None, description="Until before this moment.")
    state: Literal["delivered", "exhausted", "expired", "cancelled"] | None = Field(
        None, description="Only what ended so; left out: all."
    )


class ResyncAsked(Asked):
    """Which objects a subscription is sent as they stand."""

    from_: str | None = Field(None, alias="from", description="Those from this moment on, where they have a window.")
    until: str | None = Field(None, description="Those until this moment, itself included.")
    objects: list[str] | None = Field(None, description="Such as item; left out: all that the subscription selects.")
    actor: dict[str, Any] | None = Field(None, description="Who asks, as receivers are told; left out: the key's.")


class DeliveryAsked(Asked):
    """Which deliveries, as the list's query has it."""

    subscription: str | None = None
    tenant: Name | None = None
    state: Literal["delivered", "retrying", "exhausted", "expired", "cancelled", "merged"] | None = None
    event: str | None = None
    since: str | None = None
    until: str | None = None


class Nothing(Asked):
    """An empty document, or none at all."""


# -- queries -----------------------------------------------------------------------------------------------------------


class Query(BaseModel):
    """What every query obeys: no unknown parameters."""

    model_config = ConfigDict(extra="forbid")


class DryRunQuery(Query):
    """Whether a change is only tried."""

    dry_run: bool = Field(default=False, description="Only show what would come of it.")


class PageQuery(Query):
    """Which page of a list."""

    limit: int = Field(50, ge=1, le=250)
    after: str | None = Field(None, max_length=1024, description="The `next` of a page.")
    before: str | None = Field(None, max_length=1024, description="The `prev` of a page.")


class SubscriptionQuery(PageQuery):
    """Which subscriptions."""

    tenant: str | None = None
    state: Literal["unverified", "active", "failing", "paused", "disabled"] | None = None


class GrantPage(PageQuery):
    """Which page of which grants."""

    app: str | None = Field(None, description="Only this app's.")


class Window(Query):
    """When something happened."""

    since: str | None = Field(None, description="From this moment on (RFC 3339).")
    until: str | None = Field(None, description="Until before this moment.")


class EventFilter(PageQuery, Window):
    """Which events."""

    tenant: str | None = None
    object: str | None = None
    object_id: str | None = None
    action: str | None = None


class DeliveryFilter(Window):
    """Which deliveries."""

    subscription: str | None = None
    tenant: str | None = None
    state: Literal["delivered", "retrying", "exhausted", "expired", "cancelled", "merged"] | None = None
    event: str | None = None


class DeliveryPage(PageQuery, DeliveryFilter):
    """Which page of which deliveries."""


class ObjectQuery(Query):
    """Whose object."""

    tenant: str | None = Field(None, description="Left out: default, or the key's own.")


class ObjectPage(ObjectQuery):
    """Which page of whose objects."""

    limit: int = Field(50, ge=1, le=250)
    after: str | None = Field(None, max_length=2048, description="The `next` of a page.")


class JobQuery(PageQuery):
    """Which jobs."""

    tenant: str | None = None


class FeedQuery(Query):
    """Where to go on in a feed, and how long to wait for something to come."""

    after: str | None = Field(None, max_length=1024, description="A cursor of this feed; left out: its beginning.")
    limit: int = Field(50, ge=1, le=250)
    wait_s: float = Field(0, ge=0, le=30)
