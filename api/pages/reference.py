"""Floor 4 · The API's own reference, made from its OpenAPI description: no script, nothing from outside."""

from __future__ import annotations

import json
from inspect import getdoc
from typing import Any

from api.pages.render import render
from api.problems import ALL, Problem

METHODS = ("get", "post", "put", "patch", "delete")


def reference_page(openapi: dict[str, Any]) -> str:
    operations: dict[str, list[dict[str, Any]]] = {}
    for path, item in openapi["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                operations.setdefault(operation["tags"][0], []).append(
                    {"method": method.upper(), "path": path, **operation, "staff": "security" in operation}
                )
    return render("reference.html", api=openapi, groups=operations, problems=ALL, shape=_shape)


def problem_page(kind: type[Problem]) -> str:
    return render("problem.html", kind=kind, about=getdoc(kind))


def _shape(schema: dict[str, Any]) -> str:
    """A schema as people write it down: the name of a model, or its type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_shape(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"[{_shape(schema['items'])}]"
    return str(schema.get("const") or schema.get("type") or "any")
