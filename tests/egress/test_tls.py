"""Speak TLS 1.2 or newer with receivers whose certificate holds, and with no others: not one byte of the request."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from angarium.model.wire import NoResponse, Reason, Response
from tests.egress.certificates import Authority, outdated
from tests.egress.sending import post, sender
from tests.receivers import Answer, raw_receiver, receiver


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def _refused(tls: ssl.SSLContext, ca_file: Path | None) -> NoResponse:
    """Post to a receiver that must not get the request; return why."""
    settings: dict[str, Any] = {} if ca_file is None else {"ca_file": str(ca_file)}
    async with receiver(tls=tls) as r, sender(**settings) as s:
        answer = await post(s, r.url, body=b"payload")
        assert r.requests == []
    assert isinstance(answer, NoResponse)
    return answer


async def test_a_receiver_with_a_good_certificate_gets_the_request(authority: Authority) -> None:
    async with receiver(Answer(204), tls=authority.server()) as r, sender(ca_file=str(authority.file)) as s:
        for _ in range(2):
            answer = await post(s, r.url, body=b"payload")
            assert isinstance(answer, Response)
            assert answer.status == 204
        assert [(request.connection, request.body) for request in r.requests] == [(1, b"payload"), (1, b"payload")]


async def test_owners_share_no_tls_connection(authority: Authority) -> None:
    async with receiver(tls=authority.server()) as r, sender(ca_file=str(authority.file)) as s:
        for owner in ("ada", "bob", "ada"):
            await post(s, r.url, owner=owner)
        assert [request.connection for request in r.requests] == [1, 2, 1]


async def test_the_certificate_is_the_host_s_own_name(authority: Authority) -> None:
    """Connections are kept under a name of ours; SNI and the certificate's name are the url's."""
    tls = authority.server(name="localhost")
    asked: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiver(tls=tls) as r, sender(ca_file=str(authority.file)) as s:
        answer = await post(s, f"https://localhost:{r.port}/")
        assert isinstance(answer, Response)
        assert r.requests[0].headers["host"] == f"localhost:{r.port}"
    assert asked == ["localhost"]


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    answer = await _refused(authority.server(is_expired=True), authority.file)
    assert answer.reason is Reason.TLS
    assert "expired" in answer.detail


async def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    answer = await _refused(authority.server(is_self_signed=True), authority.file)
    assert answer.reason is Reason.TLS
    assert "self-signed" in answer.detail


async def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    assert (await _refused(authority.server(name="other.example"), authority.file)).reason is Reason.TLS


async def test_an_unknown_authority_is_refused(authority: Authority) -> None:
    assert (await _refused(authority.server(), None)).reason is Reason.TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
async def test_an_outdated_tls_is_refused(authority: Authority, version: ssl.TLSVersion) -> None:
    assert (await _refused(outdated(authority.server(), version), authority.file)).reason is Reason.TLS


async def test_tls_1_2_is_spoken(authority: Authority) -> None:
    tls = outdated(authority.server(), ssl.TLSVersion.TLSv1_2)
    async with receiver(tls=tls) as r, sender(ca_file=str(authority.file)) as s:
        assert isinstance(await post(s, r.url), Response)


async def test_a_stalled_handshake_ends_at_the_deadline() -> None:
    got: list[bytes] = []

    async def stall(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            got.append(data)

    async with raw_receiver(stall, scheme="https") as r, sender() as s:
        answer = await post(s, r.url, body=b"payload", timeout_s=0.5)
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.TIMEOUT
    assert b"payload" not in b"".join(got)


async def test_a_receiver_without_tls_is_refused_and_not_asked_in_clear() -> None:
    got: list[bytes] = []

    async def answer_in_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        got.append(await reader.read(65_536))

    async with raw_receiver(answer_in_clear, scheme="https") as r, sender() as s:
        answer = await post(s, r.url, body=b"payload")
        assert isinstance(answer, NoResponse)
        assert answer.reason is Reason.TLS
        assert r.connections == 1
    assert b"payload" not in b"".join(got)


async def test_each_phase_is_timed(authority: Authority) -> None:
    async with receiver(Answer(delay_s=0.05), tls=authority.server()) as r, sender(ca_file=str(authority.file)) as s:
        fresh, kept = await post(s, r.url), await post(s, r.url)
    phases = fresh.phases
    assert min(phases.connect_us, phases.tls_us) > 0
    assert phases.first_byte_us >= 45_000
    assert phases.dns_us + phases.connect_us + phases.tls_us + phases.first_byte_us <= phases.total_us
    assert (kept.phases.connect_us, kept.phases.tls_us) == (0, 0)
    assert kept.phases.first_byte_us >= 45_000
