"""An assertion of who the user is holds whole, or is refused."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode

import pytest

from angarium.errors import FieldError
from angarium.operations.assertions import read_assertion

KEY = b"the login's key, known to the publisher alone"


def signed(claims: bytes) -> str:
    content = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', claims))
    signature = urlsafe_b64encode(hmac.digest(KEY, content, "sha256")).rstrip(b"=")
    return (content + b"." + signature).decode()


@pytest.mark.parametrize("claims", [b"[" * 5000, b'{"a":' * 5000, b"[]", b"1", b"\xff", b""])
def test_claims_that_are_none_are_refused(claims: bytes) -> None:
    with pytest.raises(FieldError, match="assertion"):
        read_assertion(signed(claims), key=KEY, project="p", request="r", now_ms=0)


@pytest.mark.parametrize("name", ["sub", "tenant", "email", "sub_domain"])
def test_half_a_surrogate_pair_is_no_text(name: str) -> None:
    claims = {"sub": "u", "tenant": "t", "request": "r", "aud": "p", "iat": 0, "exp": 60, "jti": "j"}
    assert read_assertion(signed(json.dumps(claims).encode()), key=KEY, project="p", request="r", now_ms=0).name == "u"
    half = json.dumps({**claims, name: "\ud800"}).encode()
    with pytest.raises(FieldError, match=name):
        read_assertion(signed(half), key=KEY, project="p", request="r", now_ms=0)
