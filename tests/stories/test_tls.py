"""What a receiver's certificate must be: not one byte of an event goes to whom it does not name."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.stories.calling import Project, event
from tests.stories.receiving import Receiver


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    path = folder / "receiver.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_certificate_that_nobody_vouches_for_gets_nothing(project: Project, tmp_path: Path) -> None:
    receiver = Receiver(tls=_self_signed(tmp_path))
    try:
        hook = receiver.hook(host="localhost")
        project.subscribe(hook.url, retry={"delays_s": [1]})

        [id_] = project.publish(event())

        [delivery] = project.wait_for("exhausted", event=id_)
    finally:
        receiver.close()
    assert [(attempt["reason"], attempt["status"]) for attempt in delivery["attempts"]] == [("tls", None)] * 2
    assert hook.requests == []


def test_https_to_a_port_that_speaks_plain_http_is_no_downgrade(project: Project, receiver: Receiver) -> None:
    hook = receiver.hook()
    project.subscribe(hook.url.replace("http:", "https:"), retry={"delays_s": []}, timeout_s=1)

    [id_] = project.publish(event())

    [delivery] = project.wait_for("exhausted", event=id_)
    # The receiver waits for the end of a head that never comes, so the handshake gets no answer.
    assert [attempt["reason"] for attempt in delivery["attempts"]] == ["timeout"]
    assert hook.requests == []
