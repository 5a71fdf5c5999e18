"""No request goes where the operator did not allow it, by any spelling."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stories.calling import Project, event
from tests.stories.receiving import Hook, Receiver
from tests.stories.serving import Server

SPELLINGS = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://0/",
    "https://0.0.0.0/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://%31%32%37.0.0.1/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://100.64.0.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:db8::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[ff02::1]/",
    "https://127.0.0.1:80\\@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://exa\tmple.com/",
    "https://exam ple.com/",
    "https://example.com:99999/",
    "https://example.com:-1/",
    "https://example.com:0/",
    "https://example.com:22/",
    "https:///path",
    "https://",
    "//example.com/",
    "example.com",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "http://example.com/",
    "https://example.com/\x00",
    "https://example.com/\r\nx-a: b",
    "https://example.com/" + "a" * 20_000,
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_an_address_that_is_denied_is_refused_in_any_spelling(project: Project, url: str) -> None:
    reply = project.client.call("POST", f"{project.path}/subscriptions", {"url": url})

    assert reply.status == 422, reply
    assert [error["field"] for error in reply.json["errors"]] == ["url"]
    assert reply.json["errors"][0]["detail"]


def test_an_address_cannot_be_changed_to_one_that_is_denied(project: Project, hook: Hook) -> None:
    made = project.subscribe(hook.url)

    reply = project.client.call("PATCH", f"{project.path}/subscriptions/{made['id']}", {"url": "https://[::1]/"})

    assert reply.status == 422
    assert project.subscription(made["id"])["url"] == hook.url


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "https://example.com:8443/a?b=c", "https://bücher.example/"]
)
def test_a_public_name_is_fine(project: Project, url: str) -> None:
    made = project.subscribe(url, tenant="nobody-publishes-here")

    assert made["state"] == "active"


def test_a_name_that_resolves_to_an_allowed_address_is_pushed_to(project: Project, receiver: Receiver) -> None:
    hook = receiver.hook(host="localhost")
    project.subscribe(hook.url)

    [id_] = project.publish(event())

    project.wait_for("delivered", event=id_)
    [request] = hook.requests
    assert request.headers["host"] == f"localhost:{receiver.port}"


def test_an_allowance_is_for_its_ports_only(serve: Callable[..., Server], receiver: Receiver, hook: Hook) -> None:
    other = Receiver()
    try:
        server = serve(egress_allow=f"127.0.0.1/32:{receiver.port}")
        project = server.project()
        allowed = project.subscribe(hook.url)
        reply = project.client.call("POST", f"{project.path}/subscriptions", {"url": other.hook().url})
        elsewhere = project.client.call(
            "POST", f"{project.path}/subscriptions", {"url": f"http://127.0.0.2:{receiver.port}/"}
        )
        project.publish(event())
        hook.wait_for(1)
    finally:
        other.close()
    assert allowed["state"] == "active"
    assert (reply.status, elsewhere.status) == (422, 422)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_is_judged_at_every_connect_and_not_only_when_it_is_stored(
    serve: Callable[..., Server], receiver: Receiver, host: str
) -> None:
    hook = receiver.hook(host=host)
    server = serve()
    project = server.project()
    project.subscribe(hook.url, retry={"delays_s": []})
    assert server.stop() == 0
    server.close()
    strict = serve(egress_allow="127.0.0.1/32:1")
    again = Project(strict.client, project.name)

    [id_] = again.publish(event())

    [delivery] = again.wait_for("exhausted", event=id_)
    assert [attempt["reason"] for attempt in delivery["attempts"]] == ["blocked"]
    assert hook.requests == []
