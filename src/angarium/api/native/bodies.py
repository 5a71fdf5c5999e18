"""Read a request's JSON body strictly, before any model looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from angarium.core import jsontext
from angarium.errors import FieldError, Malformed, TooLarge, UnsupportedType

if TYPE_CHECKING:
    from starlette.requests import Request

BYTES_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 64
JSON: Final = ("application/json",)
MERGE_PATCH: Final = ("application/merge-patch+json", "application/json")

_TOO_DEEP: Final = f"the body nests deeper than {DEPTH_MAX} levels; write it flatter"
_decode = msgspec.json.Decoder().decode


async def read_body(request: Request, media_types: tuple[str, ...]) -> Any:  # noqa: ANN401  any JSON
    """Return what a request's body holds; an empty one stands for `{}`.

    `UnsupportedType` for another content type, `TooLarge`, `Malformed` when it is no JSON in UTF-8, `FieldError` for
    what nests too deep or holds NUL.
    """
    body = await read_bytes(request)
    if not body.strip():
        return {}
    _check_type(request.headers.get("content-type", ""), media_types)
    return parse(body)


async def read_bytes(request: Request) -> bytes:
    """Return a request's body as it is; `TooLarge` above what calls of this kind take."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BYTES_MAX:
            raise TooLarge(f"the body has more than {BYTES_MAX} bytes, the most that this call takes")
        parts.append(part)
    return b"".join(parts)


def parse(body: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return what a JSON text holds."""
    jsontext.check_utf8(body, what="the body")
    if jsontext.nests_deeper(body, DEPTH_MAX):
        raise FieldError("", _TOO_DEEP)
    try:
        value = _decode(body)
    except msgspec.ValidationError as error:  # Which it only says of numbers, as nothing else is expected.
        raise Malformed("the body holds a number that is out of range; write it as a text") from error
    except RecursionError:
        raise FieldError("", _TOO_DEEP) from None
    except ValueError as error:
        jsontext.refuse(body, error, what="the body")
    if b"\\u0000" in body:
        _check_nul(value, "")
    return value


def _check_type(content_type: str, media_types: tuple[str, ...]) -> None:
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() not in media_types:
        raise UnsupportedType(f"the content type is {media_type.strip()[:80]!r}, expected {' or '.join(media_types)}")
    charset = parameters.lower().partition("charset=")[2].strip(' "')
    if charset and charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedType(f"the body is in {charset[:40]!r}, expected utf-8")


def _check_nul(value: object, path: str) -> None:
    match value:
        case str() if "\0" in value:
            raise FieldError(path, "holds the character U+0000, which cannot be stored; leave it out")
        case dict():
            for name, member in value.items():
                _check_nul(name, path)
                _check_nul(member, f"{path}.{name}" if path else name)
        case list():
            for place, element in enumerate(value):
                _check_nul(element, f"{path}[{place}]")
        case _:
            pass
