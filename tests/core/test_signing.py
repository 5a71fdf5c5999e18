"""Hold signatures against vectors and against the independent packages `standardwebhooks` and `svix`."""

from __future__ import annotations

import base64
import time

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from angarium.core.signing import Scheme, check_secret, make_secret, public_key, sign, signed_content
from angarium.errors import FieldError

MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT_AT_S = 1614265330
BODY = b'{"test": 2432232314}'
SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = b"whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
# The signatures are those of the Standard Webhooks reference libraries' own tests.
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SIGNED_ASYMMETRIC = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="

KEYS = st.binary(min_size=24, max_size=64)
MESSAGE_IDS = st.from_regex(r"[a-z]{3}_[0-9a-f]{44}", fullmatch=True)
BODIES = st.text().map(str.encode)  # The two packages take text only.


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ((SECRET,), SIGNED),
        ((PRIVATE,), SIGNED_ASYMMETRIC),
        ((PRIVATE, SECRET), f"{SIGNED_ASYMMETRIC} {SIGNED}"),
        ((SECRET, SECRET), f"{SIGNED} {SIGNED}"),
    ],
)
def test_known_requests_are_signed_as_the_reference_signs_them(secrets: tuple[bytes, ...], expected: str) -> None:
    assert sign(secrets, message_id=MESSAGE_ID, sent_at_s=SENT_AT_S, body=BODY) == expected


def test_what_is_signed_is_id_moment_and_body() -> None:
    assert signed_content("evt_1", 7, b"\xff\x00") == b"evt_1.7.\xff\x00"


@given(KEYS, MESSAGE_IDS, BODIES)
def test_the_receiver_verifies_whatever_we_sign(key: bytes, message_id: str, body: bytes) -> None:
    sent_at_s = int(time.time())  # Both packages read the clock themselves.
    text = "whsec_" + base64.b64encode(key).decode()
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": sign(
            (check_secret(text, Scheme.V1),), message_id=message_id, sent_at_s=sent_at_s, body=body
        ),
    }
    standardwebhooks.Webhook(text).verify(body, headers, json_parse=False)
    svix.webhooks.Webhook(text).verify(body, headers)


@given(KEYS, KEYS, BODIES)
def test_while_a_secret_is_rotated_old_and_new_verify(new: bytes, old: bytes, body: bytes) -> None:
    sent_at_s = int(time.time())
    texts = ["whsec_" + base64.b64encode(key).decode() for key in (new, old)]
    secrets = [check_secret(text, Scheme.V1) for text in texts]
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": sign(secrets, message_id="evt_1", sent_at_s=sent_at_s, body=body),
    }
    for text in texts:
        svix.webhooks.Webhook(text).verify(body, headers)


@given(st.binary(min_size=32, max_size=32), MESSAGE_IDS, st.binary())
def test_the_public_key_verifies_what_the_private_one_signs(dice: bytes, message_id: str, body: bytes) -> None:
    kept, shown = make_secret(dice, Scheme.V1A)
    version, _, signature = sign((kept,), message_id=message_id, sent_at_s=5, body=body).partition(",")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), message_id.encode() + b".5." + body)
    assert version == "v1a"


def test_a_made_secret_is_shown_as_its_receiver_needs_it() -> None:
    dice = bytes(range(32))
    text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert make_secret(dice, Scheme.V1) == (b"whsec_" + text.encode(), "whsec_" + text)
    assert make_secret(dice, Scheme.V1A) == (
        b"whsk_" + text.encode(),
        "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    )


@pytest.mark.parametrize(
    ("text", "scheme", "kept"),
    [
        ("whsec_" + "AAAA" * 8, Scheme.V1, b"whsec_" + b"AAAA" * 8),
        ("whsec_" + "A" * 86 + "==", Scheme.V1, b"whsec_" + b"A" * 86 + b"=="),
        ("whsec_" + "A" * 43, Scheme.V1, b"whsec_" + b"A" * 43 + b"="),
        (PRIVATE.decode(), Scheme.V1A, PRIVATE),
        (PRIVATE.decode().rstrip("="), Scheme.V1A, PRIVATE),
    ],
)
def test_a_given_secret_is_kept_in_one_spelling(text: str, scheme: Scheme, kept: bytes) -> None:
    assert check_secret(text, scheme) == kept
    assert check_secret(kept.decode(), scheme) == kept


def test_a_private_key_may_bring_its_public_one() -> None:
    seed = base64.b64decode(PRIVATE.removeprefix(b"whsk_"))
    public = base64.b64decode(public_key(PRIVATE).removeprefix("whpk_"))
    assert check_secret("whsk_" + base64.b64encode(seed + public).decode(), Scheme.V1A) == PRIVATE
    with pytest.raises(FieldError, match="not the private key's"):
        check_secret("whsk_" + base64.b64encode(seed + bytes(32)).decode(), Scheme.V1A)


@pytest.mark.parametrize(
    ("text", "scheme", "problem"),
    [
        ("", Scheme.V1, "does not begin with whsec_"),
        ("AAAA" * 8, Scheme.V1, "does not begin with whsec_"),
        ("WHSEC_" + "AAAA" * 8, Scheme.V1, "does not begin with whsec_"),
        (PRIVATE.decode(), Scheme.V1, "does not begin with whsec_"),
        (SECRET.decode(), Scheme.V1A, "does not begin with whsk_"),
        ("whpk_" + "A" * 43 + "=", Scheme.V1A, "does not begin with whsk_"),
        ("whsec_my secret words", Scheme.V1, "not base64"),
        ("whsec_" + "A" * 33, Scheme.V1, "not base64"),
        ("whsec_" + "AAA-" * 8, Scheme.V1, "not base64"),
        ("whsec_" + "ÄÄÄÄ" * 8, Scheme.V1, "not base64"),
        ("whsec_" + "AAAA" * 8 + "\n", Scheme.V1, "not base64"),
        ("whsec_" + "AAAA" * 7, Scheme.V1, "21 bytes, expected 24 to 64"),
        ("whsec_" + "AAAA" * 22, Scheme.V1, "66 bytes, expected 24 to 64"),
        ("whsk_" + "AAAA" * 8, Scheme.V1A, "24 bytes, expected the 32"),
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(text: str, scheme: Scheme, problem: str) -> None:
    with pytest.raises(FieldError, match=problem) as caught:
        check_secret(text, scheme)
    assert caught.value.field == "secret"
    assert not text or text not in str(caught.value)
