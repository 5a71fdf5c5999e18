"""Whatever document is sent anywhere, the answer is never a fault of ours."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.native.serving import make_context, serve

NAMES = [
    "url", "types", "name", "description", "dialect", "filter", "headers", "options", "kind", "ordering", "batch",
    "max_in_flight", "rate", "retry", "timeout_s", "tenant", "secret", "max_events", "max_wait_ms", "max_bytes",
    "coalesce", "delays_s", "give_up", "per_minute", "scope", "expires_in", "actor", "objects", "settings",
    "verification", "ports", "actions", "window", "schema", "enforce", "overlap_s", "from", "until", "state",
    "since", "event", "subscription", "item", "envelope", "signature", "$gt", "$or", "$in", "data", "attributes",
    "title", "x-team",
]  # fmt: skip
KNOWN = [
    "https://example.com/hook", "item.*", "*", "push", "pull", "standard", "v1a", "tenant", "whsec_aaaa", "********",
    "2027-01-15T08:00:00Z", "exhausted", "cloudevents", "challenge", "object", "latest", "{object_id}",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(KNOWN), st.text(max_size=20))
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
MEMBERS = st.one_of(st.sampled_from(NAMES), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(MEMBERS, inner, max_size=5)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
SUBSCRIPTIONS = DOCUMENTS.map(lambda document: {"url": "https://example.com/hook", **document})
PARAMETERS = ["limit", "after", "before", "tenant", "state", "since", "until", "event", "subscription"]
QUERIES = st.dictionaries(st.sampled_from(PARAMETERS), TEXTS, max_size=3)


async def _ask(calls: list[tuple[str, str, Any]], queries: list[dict[str, str]]) -> None:
    async with serve(make_context()) as native:
        await native.project()
        made = await native.subscribe()
        for method, path, document in calls:
            reply = await native.call(method, path.replace("{id}", made["id"]), document)
            assert reply.status < 500, (method, path, document, reply)
        for path in (
            "subscriptions",
            "deliveries",
            "events",
            "jobs",
            "keys",
            "objects/item",
            f"subscriptions/{made['id']}/feed",
        ):
            for query in queries:
                reply = await native.call("GET", f"/v1/projects/p/{path}?{urlencode(query)}")
                assert reply.status < 500, (path, query, reply)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    subscription=SUBSCRIPTIONS,
    patch=DOCUMENTS,
    project=DOCUMENTS,
    key=DOCUMENTS,
    other=VALUES,
    queries=st.lists(QUERIES, max_size=3),
)
def test_no_document_meets_a_fault_of_ours(
    subscription: Any, patch: Any, project: Any, key: Any, other: Any, queries: list[dict[str, str]]
) -> None:
    calls = [
        ("POST", "/v1/projects/p/subscriptions", subscription),
        ("PATCH", "/v1/projects/p/subscriptions/{id}", patch),
        ("POST", "/v1/projects/p/subscriptions/{id}/secret/rotate", patch),
        ("POST", "/v1/projects/p/subscriptions/{id}/replay", patch),
        ("POST", "/v1/projects/p/subscriptions/{id}/resync", patch),
        ("POST", "/v1/projects/p/deliveries/redeliver", patch),
        ("POST", "/v1/projects/p/keys", key),
        ("PUT", "/v1/projects/q", project),
        ("PATCH", "/v1/projects/p", project),
        ("PUT", "/v1/projects/p/tenants/1", key),
        ("POST", "/v1/projects/p/subscriptions", other),
        ("POST", "/v1/projects/p/subscriptions/{id}/pause", other),
    ]
    asyncio.run(_ask(calls, queries))
