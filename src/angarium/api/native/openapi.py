"""Write the whole API down as an OpenAPI 3.1 document, with what receivers get as its `webhooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

from angarium import __version__
from angarium.api.native.schemas import SCHEMAS
from angarium.api.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from fastapi import FastAPI

    Document = dict[str, Any]

_ABOUT: Final = """Tell Angarium what happened to your objects; it tells everyone who subscribed, as signed HTTP POSTs,
until it has arrived. Moments are RFC 3339 in UTC. Lists are the newest first and take `limit`, `after` and `before`."""

_TAGS: Final = (
    ("Publish", "Say what happened."),
    ("Subscriptions", "Say who wants to know, where, and how."),
    ("Feeds", "Pull what was or would be pushed."),
    ("Events", "Look into the log."),
    ("Objects", "See objects as they stand."),
    ("Deliveries", "See what became of each request, and send again."),
    ("Jobs", "Follow what takes longer."),
    ("Projects", "Push APIs that are offered."),
    ("Tenants", "Whose data it is."),
    ("Keys", "Who may call."),
    ("Apps", "Third parties' programs, and what users allow them."),
    ("Service", "The server itself."),
)

_PROBLEM: Final = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def document_of(app: FastAPI) -> Document:
    """Return the OpenAPI document of all that is served."""
    document = get_openapi(
        title="Angarium",
        version=__version__,
        openapi_version="3.1.0",
        description=_ABOUT,
        routes=app.routes,
        tags=[{"name": name, "description": detail} for name, detail in _TAGS],
    )
    for item in document["paths"].values():
        for verb, operation in item.items():
            _explain_body(verb, operation, document["components"]["schemas"])
    document["paths"]["/v1/projects/{project}/events"]["post"] = _publish()
    document["webhooks"] = _pushed()
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **SCHEMAS, **_PUBLISHED}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}}
    document["security"] = [{"key": []}]
    return document


def _explain_body(verb: str, operation: Document, schemas: Document) -> None:
    """Say what a model cannot: that a body may be left out when nothing in it is required, and how changes are sent."""
    body = operation.get("requestBody")
    if body is None:
        return
    content = body["content"]
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    body["required"] = bool(schemas[name].get("required"))
    if verb == "patch":
        body["content"] = {"application/merge-patch+json": content["application/json"], **content}


# -- publishing, which is not routed with the rest ---------------------------------------------------------------------

_ID: Final = {"type": ["string", "integer"], "description": "A publisher's own id; a number is kept as written."}
_PUBLISHED: Final[Document] = {
    "EventToPublish": {
        "type": "object",
        "description": "Something that happened. `data` arrives byte for byte as it was published.",
        "properties": {
            "object": {"type": "string", "description": "What it happened to, such as invoice."},
            "action": {"type": "string", "description": "Such as create, update, delete."},
            "object_id": _ID,
            "tenant": {**_ID, "default": "default"},
            "data": {},
            "url": {"type": "string", "description": "Where the object can be fetched."},
            "actor": {"type": "object"},
            "attributes": {"type": "object"},
            "occurred_at": {"type": "string", "format": "date-time"},
        },
        "required": ["object", "action", "object_id"],
        "additionalProperties": False,
    }
}


def _publish() -> Document:
    event = {"$ref": "#/components/schemas/EventToPublish"}
    many = {"type": "array", "items": event, "minItems": 1, "maxItems": 1000}
    problems = {
        400: "The body is not what its content type says.",
        401: "No key, or one that is unknown or expired.",
        403: "The key's scope does not include publishing.",
        404: "There is no such project.",
        409: "The same idempotency key is still at work.",
        413: "An event is over 256 KiB, or the body over 8 MiB.",
        415: "The content type is neither JSON nor NDJSON.",
        422: "A field is wrong; `errors` names it.",
        429: "The tenant has published all that its rate allows.",
        503: "Nothing was accepted: repeat, after `Retry-After`.",
    }
    return {
        "tags": ["Publish"],
        "summary": "Publish",
        "description": "Accept one event, an array or lines of them, whole or not at all; answered after the commit.",
        "operationId": "publish",
        "x-needs": "publish events",
        "parameters": [
            {"name": "project", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "maxLength": 255},
                "description": "The same key and body are answered as they were the first time, for 24 hours.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"oneOf": [event, many]}},
                "application/x-ndjson": {"schema": event},
            },
        },
        "responses": {
            "202": {
                "description": "They are on disk.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            **{str(status): {"description": detail, **_PROBLEM} for status, detail in problems.items()},
        },
    }


# -- what is pushed ----------------------------------------------------------------------------------------------------

_ENVELOPE: Final[Document] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "examples": ["item.update"]},
        "timestamp": {"type": "string", "format": "date-time"},
        "tenant": {"type": "string"},
        "object": {"type": "string"},
        "object_id": {"type": "string"},
        "action": {"type": "string"},
        "data": {},
        "url": {"type": "string"},
        "actor": {"type": "object"},
    },
    "required": ["id", "type", "timestamp", "tenant", "object", "object_id", "action"],
}
_BATCH: Final[Document] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "type": {"const": "batch"},
        "timestamp": {"type": "string", "format": "date-time"},
        "events": {"type": "array", "items": _ENVELOPE},
    },
    "required": ["id", "type", "timestamp", "events"],
}
_CHALLENGE: Final[Document] = {
    "type": "object",
    "properties": {"type": {"const": "verification"}, "challenge": {"type": "string"}},
    "required": ["type", "challenge"],
}
_ANSWERS: Final[Document] = {
    "2XX": {"description": "Taken."},
    "410": {"description": "No more, ever: the subscription is disabled."},
    "429": {"description": "Not now: `Retry-After` is obeyed. So it is with 503."},
    "default": {"description": "Not taken: it is sent again, as the retry schedule says."},
}


def _pushed() -> Document:
    return {
        "event": _push("One event, to a subscription that asked for no batches.", _ENVELOPE, _ANSWERS),
        "batch": _push("Events that came together, oldest first.", _BATCH, _ANSWERS),
        "verification": _push(
            "The handshake of projects whose `verification` is `challenge`.",
            _CHALLENGE,
            {"2XX": {"description": "The challenge, as the body or as a member `challenge` in JSON."}},
        ),
    }


def _push(summary: str, schema: Document, answers: Document) -> Document:
    names = {
        "webhook-id": "The event's id, or the delivery's for a batch; the same on every attempt.",
        "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
        "webhook-signature": "Standard Webhooks' v1 or v1a, one entry for each secret that signs.",
    }
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": detail}
        for name, detail in names.items()
    ]
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "post": {"summary": summary, "parameters": headers, "requestBody": body, "responses": answers, "security": []}
    }
