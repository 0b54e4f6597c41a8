"""The OpenAPI document, made from the table of routes: paths, parameters, bodies, answers, and every refusal."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from observatory import __version__
from observatory.api.shapes import Error
from observatory.api.table import JSON, Route

ANY = (400, 401, 403, 421, 422, 429, 500, 503)  # what any request may be answered
POSTED = (408, 413, 415)
MEANING = {
    304: "Not changed",
    400: "Not a request of this API",
    401: "A credential is needed",
    403: "Not from there",
    404: "No such thing",
    408: "The body came too slowly",
    409: "Not in this state",
    410: "The log does not lead on from there",
    413: "Too large",
    415: "Not JSON",
    416: "Nothing of that range is there",
    421: "Not a name of this server",
    422: "Understood, but it cannot be",
    429: "Too many",
    500: "A defect of the server",
    503: "Not now",
}
REF = "#/components/schemas/{name}"
Json = dict[str, Any]


def document(routes: Iterable[Route], base: str = "") -> bytes:
    """The document as JSON. Routes that are not `named` are told of in its description."""
    routes = tuple(routes)
    shown = [route for route in routes if route.named]
    _, components = msgspec.json.schema_components(list(_classes(shown)), ref_template=REF)
    paths: Json = {}
    for route in shown:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    unnamed = "\n".join(f"- `{route.method} {route.path}`: {route.about}" for route in routes if not route.named)
    about = (
        "Everything but streams, pages and metrics. Beside it, described in docs/api.md:\n\n"
        f"{unnamed}\n\nEvery answer holds a `position`: events up to it are in what it says."
    )
    return orjson.dumps({
        "openapi": "3.1.0",
        "info": {"title": "Claude Code Observatory", "version": __version__, "description": about},
        "servers": [{"url": base or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "observatory_token"},
            },
        },
    })  # fmt: skip


def _classes(routes: Iterable[Route]) -> set[type]:
    found: set[type] = {Error}
    for route in routes:
        found |= {one for one in (route.query, route.body, *route.replies.values()) if one is not None}
    return found


def _operation(route: Route) -> Json:
    made: Json = {
        "operationId": route.name,
        "summary": route.about,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        schema = {"$ref": REF.format(name=route.body.__name__)}
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if not route.open_to_all:  # only where the server asks for one
        made["security"] = [{}, {"bearer": []}, {"cookie": []}]
    return made


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 250}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _query_parameters(route: Route) -> list[Json]:
    (schema,), components = msgspec.json.schema_components([route.query], ref_template=REF)
    shape = components.get(route.query.__name__, schema)
    required = set(shape.get("required", ()))
    found = []
    for name, one in shape.get("properties", {}).items():
        parameter: Json = {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
        found.append(parameter)
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that is absent is not given; there is no way to say null in a URL."""
    if "anyOf" in schema:
        kept = [one for one in schema["anyOf"] if one.get("type") != "null"]
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return {**kept[0], **rest} if len(kept) == 1 else {"anyOf": kept, **rest}
    return {key: value for key, value in schema.items() if not (key == "default" and value is None)}


def _responses(route: Route) -> Json:
    found: Json = {}
    for status, shape in route.replies.items():
        content: Json = {}
        if shape is not None:
            content[JSON] = {"schema": {"$ref": REF.format(name=shape.__name__)}}
        if status != 304 and (shape is None or route.content != (JSON,)):
            content |= {kind: {} for kind in route.content}
        found[str(status)] = {"description": MEANING.get(status, "Done"), **({"content": content} if content else {})}
    refusals = {
        *ANY,
        *route.refuses,
        *(POSTED if route.method == "POST" else ()),
        *((404,) if "{" in route.path else ()),
    }
    for status in sorted(refusals):
        if str(status) not in found:
            error = {"content": {JSON: {"schema": {"$ref": REF.format(name="Error")}}}}
            found[str(status)] = {"description": MEANING[status], **error}
    return dict(sorted(found.items()))
