"""Show the OpenAPI document as one page that needs nothing from anywhere else."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    Document = dict[str, Any]

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}
_VERBS: Final = ("get", "post", "put", "patch", "delete", "options")
_DEPTH_MAX: Final = 4

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0a6; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav a { margin-right: 1rem; } a { color: var(--accent); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary code { font-size: 1em; } summary .verb { display: inline-block; min-width: 4.5rem;
font-weight: 700; color: var(--accent); text-transform: uppercase; }
summary .said { opacity: .75; margin-left: .5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--soft); }
code { font-family: ui-monospace, monospace; font-size: .92em; }
.needs { opacity: .75; }
"""


def page_of(document: Document) -> str:
    """Return the page, in HTML."""
    info = document["info"]
    tags = [(tag["name"], tag["description"], list(_operations(document, tag["name"]))) for tag in document["tags"]]
    sections = "".join(_section(document, name, detail, found) for name, detail, found in tags if found)
    pushed = "".join(_operation(document, name, "post", item["post"]) for name, item in document["webhooks"].items())
    links = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name, _, found in tags if found)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])}</p>"
        f"<p>Show your key with every call: <code>Authorization: Bearer KEY</code>. The same for programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>'
        f'<nav>{links}<a href="#pushed">What is pushed</a></nav>{sections}'
        f'<h2 id="pushed">What is pushed</h2><p>What receivers get, signed as Standard Webhooks says.</p>{pushed}'
        f"</body></html>"
    )


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for verb in _VERBS:
            if verb in item and tag in item[verb].get("tags", ()):
                yield path, verb, item[verb]


def _section(document: Document, name: str, detail: str, found: list[tuple[str, str, Document]]) -> str:
    operations = "".join(_operation(document, path, verb, operation) for path, verb, operation in found)
    return f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(detail)}</p>{operations}'


def _operation(document: Document, path: str, verb: str, operation: Document) -> str:
    said = operation.get("description") or operation.get("summary", "")
    needs = operation.get("x-needs")
    parts = [f'<p class="needs">Needs a key that may {escape(needs)}.</p>' if needs else ""]
    parts.append(_parameters(operation.get("parameters", ())))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body <code>{escape(media_type)}</code></h4>{_members(document, content['schema'])}")
    for status, answer in operation["responses"].items():
        parts.append(_answer(document, status, answer))
    return (
        f'<details><summary><span class="verb">{verb}</span><code>{escape(path)}</code>'
        f'<span class="said">{escape(said)}</span></summary>{"".join(parts)}</details>'
    )


def _parameters(parameters: Any) -> str:  # noqa: ANN401  a list of an OpenAPI document
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{escape(_kind(each['schema']))}</td><td>{escape(each.get('description', ''))}</td></tr>"
        for each in parameters
    )
    return f"<h4>Parameters</h4><table>{rows}</table>" if rows else ""


def _answer(document: Document, status: str, answer: Document) -> str:
    shown = "".join(
        f"<p><code>{escape(media_type)}</code></p>{_members(document, content['schema'])}"
        for media_type, content in answer.get("content", {}).items()
        if status.startswith("2")
    )
    return f"<h4>{escape(status)} <small>{escape(answer['description'])}</small></h4>{shown}"


def _members(document: Document, schema: Document, depth: int = 0) -> str:
    """Show a schema's members as a table, those of its parts inside."""
    schema = _resolved(document, schema)
    required = schema.get("required", ())
    rows = "".join(
        _row(document, name, member, depth, is_optional=name not in required)
        for name, member in schema.get("properties", {}).items()
    )
    return f"<table>{rows}</table>" if rows else f"<p>{escape(_kind(schema))}</p>"


def _row(document: Document, name: str, member: Document, depth: int, *, is_optional: bool) -> str:
    optional = " <small>optional</small>" if is_optional else ""
    said = escape(member.get("description", "")) + _inner(document, member, depth)
    return f"<tr><td><code>{escape(name)}</code>{optional}</td><td>{escape(_kind(member))}</td><td>{said}</td></tr>"


def _inner(document: Document, member: Document, depth: int) -> str:
    schema = _resolved(document, member)
    schema = _resolved(document, schema.get("items", schema))
    return _members(document, schema, depth + 1) if "properties" in schema and depth < _DEPTH_MAX else ""


def _resolved(document: Document, schema: Document) -> Document:
    """Follow a reference, and look through what may also be null."""
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return _resolved(document, choice)
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Document = document["components"]["schemas"][name] if name else schema
    return found


def _kind(schema: Document) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return " or ".join(dict.fromkeys(_kind(each) for each in schema[choices]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
