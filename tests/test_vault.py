"""Hold how secrets are sealed, and how the key is kept."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from angarium.errors import SecretKeyWrong
from angarium.vault import Vault, load_or_make_key, parse_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
VAULT = Vault(KEY)


@given(st.binary(), st.binary())
def test_what_is_sealed_opens_again(plain: bytes, context: bytes) -> None:
    assert VAULT.open(VAULT.seal(plain, context=context), context=context) == plain


@given(st.binary(min_size=1), st.integers(min_value=0), st.integers(0, 7))
def test_a_changed_bit_is_noticed(plain: bytes, place: int, bit: int) -> None:
    sealed = bytearray(VAULT.seal(plain, context=b"subscription:1"))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(SecretKeyWrong):
        VAULT.open(bytes(sealed), context=b"subscription:1")


@given(st.binary(max_size=40))
def test_foreign_bytes_do_not_open(sealed: bytes) -> None:
    with pytest.raises(SecretKeyWrong):
        VAULT.open(sealed, context=b"")


def test_a_secret_of_one_subscription_does_not_open_for_another() -> None:
    sealed = VAULT.seal(b"s", context=b"subscription:1")
    with pytest.raises(SecretKeyWrong, match="does not open with this key"):
        VAULT.open(sealed, context=b"subscription:2")


def test_equal_secrets_look_different() -> None:
    assert VAULT.seal(b"s", context=b"") != VAULT.seal(b"s", context=b"")


def test_the_form_at_rest_is_a_version_a_nonce_and_aes_256_gcm() -> None:
    sealed = VAULT.seal(b"a secret", context=b"subscription:1")
    assert len(sealed) == 1 + 12 + 8 + 16
    assert sealed[0] == 1
    assert AESGCM(KEY).decrypt(sealed[1:13], sealed[13:], b"subscription:1") == b"a secret"


def test_a_later_form_is_refused() -> None:
    with pytest.raises(SecretKeyWrong, match="not in the form"):
        VAULT.open(b"\x02" + VAULT.seal(b"s", context=b"")[1:], context=b"")


def test_another_key_than_the_stores_is_recognised() -> None:
    value = VAULT.check_value()
    Vault(KEY).check(value)
    with pytest.raises(SecretKeyWrong, match="not the one this store was made with"):
        Vault(bytes(32)).check(value)


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_key_has_32_bytes(key: bytes) -> None:
    with pytest.raises(SecretKeyWrong, match=f"has {len(key)} bytes, expected 32"):
        Vault(key)
    with pytest.raises(SecretKeyWrong, match=f"has {len(key)} bytes, expected 32"):
        parse_key(base64.b64encode(key).decode())


def test_a_key_is_read_from_base64() -> None:
    assert parse_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") == KEY
    assert parse_key(" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n") == KEY


@pytest.mark.parametrize("text", ["my pass phrase", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "ключ", "A\nA=="])
def test_what_is_not_base64_is_no_key_and_not_repeated(text: str) -> None:
    with pytest.raises(SecretKeyWrong, match="is not base64; make one with") as caught:
        parse_key(text)
    assert text not in str(caught.value)


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "angarium.db.key"
    key = load_or_make_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_key(path.read_text("ascii")) == key
    assert load_or_make_key(path) == key
    assert list(tmp_path.iterdir()) == [path]


def test_each_store_gets_a_key_of_its_own(tmp_path: Path) -> None:
    assert load_or_make_key(tmp_path / "a") != load_or_make_key(tmp_path / "b")


def test_of_many_starts_at_once_all_get_one_key(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / str(number)
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(load_or_make_key, [path] * 8))
        assert len(keys) == 1
    assert len(list(tmp_path.iterdir())) == 20


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o601])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_make_key(path)
    path.chmod(mode)
    with pytest.raises(SecretKeyWrong, match=f"has mode {mode:o}.*chmod 600"):
        load_or_make_key(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", base64.b64encode(bytes(16))])
def test_a_file_without_a_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretKeyWrong, match=f"in {path}"):
        load_or_make_key(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_or_make_key(tmp_path / "nowhere" / "key")
