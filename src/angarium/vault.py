"""Encrypt secrets at rest with AES-256-GCM, and keep the key. Where sealed secrets lie is the stores' business."""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from angarium.errors import SecretKeyWrong

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32

_FORMAT = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_CHECKED = b"This store's secrets are under this key."


class Vault:
    """Seal and open secrets under one key of 32 bytes.

    `context` says what a secret belongs to, such as `subscription:42`: what was sealed for one opens for no other.
    Nonces are random, which is safe for some 2^32 secrets under one key. NIST SP 800-38D, section 8.3.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SecretKeyWrong(f"the secret key has {len(key)} bytes, expected {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *, context: bytes) -> bytes:
        """Return a secret encrypted, 29 bytes longer."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed; `SecretKeyWrong` when it was under another key or context, or has been changed."""
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _FORMAT or len(encrypted) < _TAG_BYTES:
            raise SecretKeyWrong(
                "a stored secret is not in the form that this version writes; restore it or set it anew"
            )
        try:
            return self._cipher.decrypt(nonce, encrypted, context)
        except InvalidTag as error:
            raise SecretKeyWrong(
                "a stored secret does not open with this key; start with the ANGARIUM_SECRET_KEY it was stored under"
            ) from error

    def check_value(self) -> bytes:
        """Return what a store keeps to recognise this key by."""
        return self.seal(_CHECKED, context=b"check")

    def check(self, value: bytes) -> None:
        """Raise `SecretKeyWrong` unless a store's check value was made with this key."""
        try:
            self.open(value, context=b"check")
        except SecretKeyWrong as error:
            raise SecretKeyWrong(
                "the secret key is not the one this store was made with; "
                "start with that ANGARIUM_SECRET_KEY, or put its key file back beside the store"
            ) from error


def parse_key(text: str) -> bytes:
    """Return the key that `ANGARIUM_SECRET_KEY` holds, 32 bytes in base64; `SecretKeyWrong` for any other text."""
    try:
        key = b64decode(text.strip(), validate=True)
    except ValueError as error:
        raise SecretKeyWrong(f"the secret key is not base64; {_HOW_TO_MAKE_ONE}") from error
    if len(key) != KEY_BYTES:
        raise SecretKeyWrong(f"the secret key has {len(key)} bytes, expected {KEY_BYTES}; {_HOW_TO_MAKE_ONE}")
    return key


def load_or_make_key(path: Path) -> bytes:
    """Return the key in a file that only its owner may read, made with a new key when there is none.

    The file is on disk with all its bytes before it has its name, and an existing one is never replaced: of two
    processes that start at once, both get the same key. `SecretKeyWrong` when others may read it or it holds no key.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        _make(path)
        return _load(path)


_HOW_TO_MAKE_ONE = f"make one with: head -c {KEY_BYTES} /dev/urandom | base64"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def _load(path: Path) -> bytes:
    with path.open(encoding="ascii", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise SecretKeyWrong(f"{path} has mode {mode:o}, so others may read the secret key; run: chmod 600 {path}")
        try:
            return parse_key(file.read(1024))
        except SecretKeyWrong as error:
            raise SecretKeyWrong(f"in {path}: {error}") from error


def _make(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  the mode is given at birth
            file.write(b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _name(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _name(draft: Path, path: Path) -> None:
    """Give a finished file its name, unless another process was first."""
    try:
        os.link(draft, path)  # A rename would replace the other's key, under which it may have sealed already.
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
