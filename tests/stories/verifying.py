"""Verify signatures with programs that are not ours."""

from __future__ import annotations

from base64 import b64decode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

from tests.stories.receiving import Received


def is_signed(request: Received, secret: str) -> bool:
    """Say whether both independent packages verify a request with this secret; fail when they disagree."""
    headers = dict(request.headers)
    try:
        Webhook(secret).verify(request.body, headers)
    except WebhookVerificationError:
        is_standard = False
    else:
        is_standard = True
    try:
        SvixWebhook(secret).verify(request.body, headers)
    except SvixVerificationError:
        is_svix = False
    else:
        is_svix = True
    assert is_standard == is_svix
    return is_standard


def is_signed_by(request: Received, public: str) -> bool:
    """Say whether a request has a `v1a` signature by the key of this `whpk_…`."""
    key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
    content = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    for entry in request.headers["webhook-signature"].split():
        scheme, signature = entry.split(",", 1)
        if scheme == "v1a":
            try:
                key.verify(b64decode(signature), content)
            except InvalidSignature:
                continue
            return True
    return False
