"""The API describes itself: an OpenAPI document that holds, and a page that needs nothing from elsewhere."""

from __future__ import annotations

import re

import jsonschema_rs

from tests.api.native.serving import Native


async def test_the_document_is_openapi_3_1_with_what_is_pushed(native: Native) -> None:
    document = (await native.call("GET", "/openapi.json", key="")).expect(200)
    assert document["openapi"].startswith("3.1")
    assert set(document["webhooks"]) == {"event", "batch", "verification"}
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/v1/addresses"]["get"]["security"] == []
    operations = [each for item in document["paths"].values() for each in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"publish", "create_subscription", "read_feed", "redeliver_many"} <= set(names)
    assert all(
        operation["x-needs"] or operation["security"] == [] for operation in operations if "x-needs" in operation
    )


async def test_every_schema_of_the_document_compiles_and_none_is_missing(native: Native) -> None:
    document = (await native.call("GET", "/openapi.json")).expect(200)
    schemas = document["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', (await native.call("GET", "/openapi.json")).body.decode()):
        assert name in schemas
    for name in schemas:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})


async def test_what_needs_no_body_says_so(native: Native) -> None:
    paths = (await native.call("GET", "/openapi.json")).expect(200)["paths"]
    one = "/v1/projects/{project}/subscriptions/{subscription}"
    assert paths[f"{one}/pause"]["post"]["requestBody"]["required"] is False
    assert paths["/v1/projects/{project}/keys"]["post"]["requestBody"]["required"] is True
    assert next(iter(paths[one]["patch"]["requestBody"]["content"])) == "application/merge-patch+json"


async def test_the_page_asks_for_nothing_from_elsewhere(native: Native) -> None:
    reply = await native.call("GET", "/docs", key="")
    page = reply.body.decode()
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert re.findall(r'(?:src|href)="(?!#|openapi\.json")[^"]*"', page) == []
    assert "<script" not in page
    for words in ("/v1/projects/{project}/subscriptions", "webhook-signature", "Idempotency-Key", "max_in_flight"):
        assert words in page
