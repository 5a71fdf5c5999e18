"""Sign what is sent, as Standard Webhooks says. Which secrets sign, and when, is decided elsewhere.

Signed is `{id}.{timestamp}.{body}`. A secret is kept as its own text, whose prefix tells the scheme:

| scheme | signature | kept secret | the receiver's side of it |
|---|---|---|---|
| `v1` | HMAC-SHA256 | `whsec_` and 24 to 64 bytes in base64 | the same |
| `v1a` | Ed25519 | `whsk_` and the key's 32-byte seed in base64 | `whpk_` and the public key in base64 |

So secrets of both schemes can sign one request, while a subscription moves from one to the other. Standard Webhooks
1.0.0, "Signature scheme".
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import b2a_base64
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from angarium.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SYMMETRIC_PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"

_SEED_BYTES = 32
_KEYPAIR_BYTES = 64
_HMAC_BYTES_MIN = 24
_HMAC_BYTES_MAX = 64
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Scheme(StrEnum):
    """How a request is signed."""

    V1 = "v1"
    V1A = "v1a"


def sign(secrets: Sequence[bytes], *, message_id: str, sent_at_s: int, body: bytes) -> str:
    """Return the `webhook-signature` value: one entry per secret (as `check_secret` returns them), in their order."""
    content = signed_content(message_id, sent_at_s, body)
    if len(secrets) == 1:
        return _signer(secrets[0])(content)
    return " ".join([_signer(secret)(content) for secret in secrets])


def signed_content(message_id: str, sent_at_s: int, body: bytes) -> bytes:
    """Return the bytes that a signature is over."""
    return b"%b.%d.%b" % (message_id.encode(), sent_at_s, body)


def check_secret(text: str, scheme: Scheme) -> bytes:
    """Return a given secret as it is kept; `FieldError('secret', …)` when it is none of this scheme.

    The prefix must be there: without it, a passphrase that happens to be base64 would sign as other bytes than its
    owner thinks. A `v1a` secret is a seed, or a seed and its public key (64 bytes) as some tools write it.
    """
    prefix = SYMMETRIC_PREFIX if scheme is Scheme.V1 else PRIVATE_PREFIX
    if not text.startswith(prefix):
        raise FieldError("secret", f"does not begin with {prefix}, as a {scheme} secret must; write {prefix} + base64")
    key = _decode(text.removeprefix(prefix))
    return _keep(prefix, _check_length(key) if scheme is Scheme.V1 else _seed_of(key))


def make_secret(dice: bytes, scheme: Scheme) -> tuple[bytes, str]:
    """Make a secret of 32 random bytes; return it as it is kept, and what its receiver is shown."""
    if scheme is Scheme.V1:
        kept = _keep(SYMMETRIC_PREFIX, _check_length(dice))
        return kept, kept.decode()
    kept = _keep(PRIVATE_PREFIX, _seed_of(dice))
    return kept, public_key(kept)


def public_key(secret: bytes) -> str:
    """Return what a receiver checks a kept `v1a` secret's signatures with, `whpk_…`."""
    key = _private_key(secret)
    return PUBLIC_PREFIX + b64encode(key.public_key().public_bytes_raw()).decode()


def _decode(text: str) -> bytes:
    try:
        # Some tools leave the padding out, and the usual receivers put it back.
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise FieldError(
            "secret", "is not base64 after its prefix; use the standard alphabet, A-Z a-z 0-9 + /"
        ) from error


def _check_length(key: bytes) -> bytes:
    if not _HMAC_BYTES_MIN <= len(key) <= _HMAC_BYTES_MAX:
        raise FieldError(
            "secret",
            f"holds {len(key)} bytes, expected {_HMAC_BYTES_MIN} to {_HMAC_BYTES_MAX}; 32 random ones are best",
        )
    return key


def _seed_of(key: bytes) -> bytes:
    if len(key) not in {_SEED_BYTES, _KEYPAIR_BYTES}:
        raise FieldError("secret", f"holds {len(key)} bytes, expected the {_SEED_BYTES} of an Ed25519 seed")
    seed, public = key[:_SEED_BYTES], key[_SEED_BYTES:]
    if public and Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() != public:
        raise FieldError("secret", "holds a public key that is not the private key's; copy the pair again")
    return seed


def _keep(prefix: str, key: bytes) -> bytes:
    return prefix.encode() + b64encode(key)


@lru_cache(maxsize=2048)  # Decoding a key costs a third of signing; 2,048 secrets take some 2.5 MB.
def _signer(secret: bytes) -> Callable[[bytes], str]:
    return _symmetric(secret) if secret.startswith(SYMMETRIC_PREFIX.encode()) else _asymmetric(secret)


def _symmetric(secret: bytes) -> Callable[[bytes], str]:
    """Return HMAC-SHA256 under one key (RFC 2104), begun once.

    `hmac.digest` begins anew each time, and lets go of the interpreter's lock for a microsecond's work, so that another
    thread takes it: a fifth of the loop's time went there. What is hashed here keeps the lock up to 2 KiB.
    """
    key = b64decode(secret[len(SYMMETRIC_PREFIX) :]).ljust(_BLOCK_BYTES, b"\0")
    inner = sha256(key.translate(_INNER)).copy
    outer = sha256(key.translate(_OUTER)).copy

    def signed(content: bytes) -> str:
        inside, outside = inner(), outer()
        inside.update(content)
        outside.update(inside.digest())
        return "v1," + b2a_base64(outside.digest(), newline=False).decode()

    return signed


def _asymmetric(secret: bytes) -> Callable[[bytes], str]:
    key = _private_key(secret)

    def signed(content: bytes) -> str:
        return "v1a," + b2a_base64(key.sign(content), newline=False).decode()

    return signed


def _private_key(secret: bytes) -> Ed25519PrivateKey:
    # The text itself stays out of the message: it is a secret.
    assert secret.startswith(PRIVATE_PREFIX.encode()), "a secret is kept with its prefix, whsec_ or whsk_"
    return Ed25519PrivateKey.from_private_bytes(b64decode(secret[len(PRIVATE_PREFIX) :]))
