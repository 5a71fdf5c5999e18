"""Say, as JSON Schemas, what the native API answers. The tests hold every answer against them.

Every member of an answer is always there unless it is named under `may_lack`; what may be null says so.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}


def _null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _some(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def _record(description: str, may_lack: tuple[str, ...] = (), /, **members: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": members,
        "required": [name for name in members if name not in may_lack],
        "additionalProperties": False,
    }


def _extended(schema: Schema, description: str, /, **members: Schema) -> Schema:
    """Return a record with further members, or others in the place of its own."""
    properties = {**schema["properties"], **members}
    required = list(dict.fromkeys([*schema["required"], *members]))
    return {**schema, "description": description, "properties": properties, "required": required}


_PROJECT = _record(
    "A push API that somebody offers.",
    ("settings",),
    id=TEXT,
    dialect=TEXT,
    objects=OBJECT,
    settings=OBJECT,
    created_at=MOMENT,
    updated_at=MOMENT,
)
_TENANT = _record(
    "The publisher's customer whose data it is.", id=TEXT, title=TEXT, attributes=OBJECT, created_at=MOMENT
)
_KEY = _record(
    "An API key, without the key itself. One of scope admin belongs to no project.",
    id=TEXT,
    scope=_one_of("admin", "publish", "manage", "read", "tenant"),
    project=_null(TEXT),
    tenant=_null(TEXT),
    name=TEXT,
    actor=_null(OBJECT),
    created_at=MOMENT,
    expires_at=_null(MOMENT),
)
_APP = _record("A third party's program.", id=TEXT, name=TEXT, url=TEXT, redirect_uri=_null(TEXT), created_at=MOMENT)
_GRANT = _record(
    "What a user of a tenant allows an app. `scope` is null for all of the user's rights, `permissions` for all there "
    "are. While `is_pending` the app has not exchanged its code, and `expires_at` is the code's.",
    id=TEXT,
    app=TEXT,
    tenant=TEXT,
    user=TEXT,
    email=_null(TEXT),
    sub_domain=TEXT,
    scope=_null(TEXT),
    permissions=_null(_some(TEXT)),
    is_pending=FLAG,
    created_at=MOMENT,
    expires_at=MOMENT,
)
_NEW_GRANT = _extended(_GRANT, "A new grant; its token, or its code, is shown this once.", access_token=TEXT, code=TEXT)
_SUBSCRIPTION = _record(
    "Who wants which events, where, under which policy. `secret` is there only when it has just been made.",
    ("secret",),
    id=TEXT,
    tenant=TEXT,
    state=_one_of("unverified", "active", "failing", "paused", "disabled"),
    reason=_null(TEXT),
    kind=_one_of("push", "pull"),
    url=_null(TEXT),
    types=_some(TEXT),
    filter=_null(OBJECT),
    name=TEXT,
    description=TEXT,
    dialect=TEXT,
    options=OBJECT,
    headers={"type": "object", "additionalProperties": TEXT, "description": "Values are masked."},
    ordering=_one_of("object", "strict", "none"),
    batch=_record(
        "When a batch is full.",
        max_events=WHOLE,
        max_wait_ms=WHOLE,
        max_bytes=WHOLE,
        coalesce=_one_of("none", "operations", "latest"),
    ),
    max_in_flight=WHOLE,
    rate=_null(_record("How many requests a minute.", per_minute=WHOLE)),
    retry=_record("The waits between attempts.", delays_s=_some(NUMBER), give_up=FLAG),
    timeout_s=NUMBER,
    failing_since=_null(MOMENT),
    backlog=WHOLE,
    last_delivered_at=_null(MOMENT),
    external_id=_null(TEXT),
    created_at=MOMENT,
    updated_at=MOMENT,
    secret=TEXT,
)
_EVENT = _record(
    "Something that happened to one object of one tenant.",
    ("data", "actor", "attributes", "url"),
    id=TEXT,
    type=TEXT,
    tenant=TEXT,
    object=TEXT,
    object_id=TEXT,
    action=TEXT,
    data=ANY,
    actor=OBJECT,
    attributes=OBJECT,
    url=TEXT,
    occurred_at=MOMENT,
    accepted_at=MOMENT,
)
_DELIVERY = _record(
    "One or more events for one subscription: one request, the same on every attempt. A range stands for `event_count` "
    "events that were never sent. `event` is the last one's id.",
    id=TEXT,
    subscription=_null(TEXT),
    tenant=_null(TEXT),
    state=_one_of("retrying", "delivered", "exhausted", "expired", "cancelled", "merged"),
    origin=_one_of("lane", "test", "redeliver"),
    event=TEXT,
    type=_null(TEXT),
    event_count=WHOLE,
    is_range=FLAG,
    attempts=WHOLE,
    status=_null(WHOLE),
    reason=_null(TEXT),
    accepted_at=MOMENT,
    next_at=_null(MOMENT),
    settled_at=_null(MOMENT),
)
_ATTEMPT = _record(
    "One POST of a delivery. `request` is what the subscription, as it is now, sends, secrets masked.",
    number=WHOLE,
    at=MOMENT,
    status=_null(WHOLE),
    reason=_one_of(
        "accepted", "status", "gone", "timeout", "refused", "reset", "dns", "tls", "blocked", "bad_answer", "internal"
    ),
    detail=_null(TEXT),
    took_ms=WHOLE,
    phases=_record(
        "How long each phase took.",
        dns_ms=NUMBER,
        connect_ms=NUMBER,
        tls_ms=NUMBER,
        first_byte_ms=NUMBER,
        total_ms=NUMBER,
    ),
    request=_null(
        _record("What was sent.", method=TEXT, url=TEXT, headers={"type": "object", "additionalProperties": TEXT})
    ),
    response=_null(_record("What came back; the first KiB of its body.", status=WHOLE, body=TEXT)),
)
_OBJECT = _record(
    "An object as it stands. `event` is its last one, `occurred_at` when that occurred; `data` is of the last that had "
    "any.",
    ("data", "attributes", "url"),
    tenant=TEXT,
    object=TEXT,
    object_id=TEXT,
    action=TEXT,
    data=ANY,
    attributes=OBJECT,
    url=TEXT,
    event=TEXT,
    occurred_at=MOMENT,
    updated_at=MOMENT,
)
_JOB = _record(
    "A resync, a replay, or many deliveries sent again. `done` counts what has been settled.",
    id=TEXT,
    kind=_one_of("replay", "redeliver", "resync", "export"),
    state=_one_of("running", "done", "cancelled", "failed"),
    tenant=_null(TEXT),
    subscription=_null(TEXT),
    total=WHOLE,
    done=WHOLE,
    failed=WHOLE,
    skipped=WHOLE,
    detail=_null(TEXT),
    created_at=MOMENT,
    updated_at=MOMENT,
)
_FEED_ENTRY = _record(
    "One event of a feed; `body` is the event as one item of its dialect.",
    cursor=TEXT,
    id=TEXT,
    type=TEXT,
    occurred_at=MOMENT,
    body=ANY,
)
_FAULT = _record("What is wrong with one field.", field=TEXT, detail=TEXT)


def _listed(name: str) -> Schema:
    return _record("One page, the newest first.", data=_some(_ref(name)), next=_null(TEXT), prev=_null(TEXT))


SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": _record(
        "What went wrong (RFC 9457).",
        ("errors",),
        type=TEXT,
        title=TEXT,
        status=WHOLE,
        detail=TEXT,
        errors=_some(_FAULT),
    ),
    "Project": _PROJECT,
    "Tenant": _TENANT,
    "Key": _KEY,
    "NewKey": _extended(_KEY, "A new key, shown this once.", key=TEXT),
    "App": _APP,
    "NewApp": _extended(_APP, "A new app, its secret shown this once.", secret=TEXT),
    "Grant": _GRANT,
    "NewGrant": {**_NEW_GRANT, "required": _GRANT["required"]},
    "Subscription": _SUBSCRIPTION,
    "NewSecret": _record("A new secret, shown this once.", secret=TEXT),
    "Event": _EVENT,
    "EventWithDeliveries": _extended(_EVENT, "An event with its deliveries.", deliveries=_some(_ref("Delivery"))),
    "Delivery": _DELIVERY,
    "Attempt": _ATTEMPT,
    "DeliveryWithAttempts": _extended(
        _DELIVERY, "A delivery with its attempts.", attempts=_some(_ref("Attempt")), events=_some(TEXT)
    ),
    "DeliveryOrJob": {"anyOf": [_ref("Delivery"), _ref("Job")]},
    "Job": _JOB,
    "Object": _OBJECT,
    "FeedEntry": _FEED_ENTRY,
    "FeedPage": _record("What comes after a cursor.", data=_some(_ref("FeedEntry")), next=TEXT),
    "Addresses": _record("Where pushes come from.", addresses=_some(TEXT)),
    "Accepted": _record(
        "Events that are on disk, and how many deliveries they will mean.",
        accepted=WHOLE,
        ids=_some(TEXT),
        matched=WHOLE,
    ),
    **{
        f"{name}List": _listed(name)
        for name in ("Project", "Tenant", "Key", "App", "Grant", "Subscription", "Event", "Delivery", "Job", "Object")
    },
}
"""All answers, by their names under `components`."""
