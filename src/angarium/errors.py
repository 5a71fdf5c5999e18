"""Name what can go wrong on our side: one family, one class per thing that a caller can do something about.

A receiver's failure is none of these; it is an `Outcome`.
"""

from __future__ import annotations


class AngariumError(Exception):
    """The family. Its text says what was found, what was expected and what to do."""


class FieldError(AngariumError):
    """A field of a request is wrong; `field` is its path such as `events[2].object_id`, empty for the whole."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field = field
        self.detail = detail


class Malformed(AngariumError):
    """The request's body is not what its content type says."""


class UnsupportedType(AngariumError):
    """The request's content type is none that this call takes."""


class TooLarge(AngariumError):
    """A body, event or batch is over its limit."""


class NotFound(AngariumError):
    """There is no such thing, or it belongs to someone else."""


class Unauthorized(AngariumError):
    """No key, or one that is unknown or expired."""


class Forbidden(AngariumError):
    """The key's scope does not include this call."""


class Conflict(AngariumError):
    """The thing's present state does not allow this."""


class KeyReused(AngariumError):
    """The idempotency key was used with another body."""


class KeyInUse(AngariumError):
    """A request with the same idempotency key is still running."""


class CursorGone(AngariumError):
    """The cursor is older than what the log still holds."""


class BadCursor(AngariumError):
    """The text is no cursor of this list."""


class RateExceeded(AngariumError):
    """More was asked than a rate allows; `retry_after_s` is when there will be room again, in whole seconds."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Busy(AngariumError):
    """The server has as much in hand as it may hold: nothing was done, ask again in `retry_after_s` seconds."""

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ListenFailed(AngariumError):
    """The server cannot listen where it was told to."""


class StoreInUse(AngariumError):
    """Another process has the store."""


class StoreAway(AngariumError):
    """The store cannot be written now. `is_unknown`: what was asked for may have happened all the same."""

    def __init__(self, detail: str, *, is_unknown: bool = False) -> None:
        super().__init__(detail)
        self.is_unknown = is_unknown


class OwnershipLost(StoreAway):
    """A partition is not, or no longer, owned here: drop what is held of it, its new owner goes on from the store."""


class StoreDamaged(StoreAway):
    """What the store holds is not as it was written."""


class StoreWrong(AngariumError):
    """The file is no store that this program can use: newer than it, changed, or of something else."""


class StoreUnfinished(StoreWrong):
    """The store is a copy of another that is not whole yet."""


class SecretKeyWrong(AngariumError):
    """The key that encrypts secrets is missing, malformed, or not the one this store was made with."""


class SettingsWrong(AngariumError):
    """One or more settings are wrong; the text lists them all."""
