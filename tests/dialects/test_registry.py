"""Hold which dialects there are."""

from __future__ import annotations

import pytest

from angarium.dialects.registry import DIALECTS, dialect
from angarium.errors import FieldError


def test_each_dialect_is_listed_under_its_own_name() -> None:
    assert all(dialect(name).name == name for name in DIALECTS)
    assert "standard" in DIALECTS


def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    with pytest.raises(FieldError, match=r"'latin' is unknown; expected one of .*standard") as caught:
        dialect("latin")
    assert caught.value.field == "dialect"
