"""Whole answers, written as HTTP."""

from __future__ import annotations

from angarium.api.replies import Reply


def test_an_answer_is_written_as_http() -> None:
    reply = Reply(404, (("content-type", "text/plain"),), b"no such thing")
    assert reply.written(before=b"date: now\r\n", after=b"connection: close\r\n") == (
        b"HTTP/1.1 404 Not Found\r\ndate: now\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n"
        b"connection: close\r\n\r\nno such thing"
    )
