"""JSON Schemas of requests: building blocks, reading of query strings, and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError

Schema = dict[str, Any]

INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
STRING: Schema = {"type": "string", "minLength": 1}
DATE: Schema = {"type": "string", "format": "date"}
UUID: Schema = {"type": "string", "pattern": "^[0-9a-fA-F-]{36}$"}
PAGE: Schema = {
    "page": {"type": "integer", "minimum": 1},
    # Invented: the maximum; it is documented for signups only. Default 25 is documented for offers.
    "per_page": {"type": "integer", "minimum": 1, "maximum": 200},
}
DEFAULT_PER_PAGE = 25
_FORMATS = FormatChecker(["date"])

_MESSAGES = {
    "type": "{field} must be {article} {value}",
    "minItems": "{field} size cannot be less than {value}",
    "maxItems": "{field} size cannot be greater than {value}",
    "minimum": "{field} must be greater than or equal to {value}",
    "maximum": "{field} must be less than or equal to {value}",
    "minLength": "{field} must be filled",
    "format": "{field} must be a {value}",
    "pattern": "{field} is in invalid format",
}


def array(items: Schema, **bounds: Any) -> Schema:
    """Schema of a list."""
    return {"type": "array", "items": items, **bounds}


def params(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """Schema of all parameters of an action. Invented: unknown ones are ignored."""
    schema: Schema = {"type": "object", "properties": properties, **more}
    if required:
        schema["required"] = list(required)
    return schema


def read_query(pairs: list[tuple[str, str]], schema: Schema) -> dict[str, Any]:
    """
    Parameters of a query string, in the types of the schema.

    Lists come in bracket notation (documented), or as one text with commas (Invented:).
    """
    values: dict[str, Any] = {}
    for raw_name, text in pairs:
        name = raw_name.removesuffix("[]")
        expected = schema.get("properties", {}).get(name, {})
        if expected.get("type") == "array" or raw_name.endswith("[]"):
            parts = [text] if raw_name.endswith("[]") else text.split(",")
            values.setdefault(name, []).extend(_cast(part, expected.get("items", {})) for part in parts)
        else:
            values[name] = _cast(text, expected)
    return values


def _cast(text: str, expected: Schema) -> Any:
    kind = expected.get("type")
    if kind == "integer" and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if kind == "boolean" and text.lower() in {"true", "false", "1", "0"}:
        return text.lower() in {"true", "1"}
    return text


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Pass lists of whole numbers, where nothing else is asked: one by one, 5000 ids take 40 ms."""
    if items != INTEGER or not isinstance(instance, list) or any(type(item) is not int for item in instance):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)


_Validator = validators.extend(Draft202012Validator, {"items": _items})


def problems(values: Any, schema: Schema) -> list[str]:
    """All reasons to refuse the parameters. Documented: one list of readable messages."""
    validator = _Validator(schema, format_checker=_FORMATS)
    errors = sorted(validator.iter_errors(values), key=lambda error: [str(part) for part in error.path])
    return list(dict.fromkeys(_message(error) for error in errors))


def _message(error: ValidationError) -> str:
    field = ".".join(str(part) for part in error.path) or "body"
    keyword = str(error.validator)
    own = error.schema.get("errorMessage", {}) if isinstance(error.schema, dict) else {}
    if keyword in own:
        return str(own[keyword])
    if keyword == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{missing} is missing"
    if keyword == "enum":
        return f"{field} must be one of: {', '.join(map(str, error.validator_value))}"
    value = error.validator_value
    article = "an" if str(value)[0] in "aio" else "a"
    template = _MESSAGES.get(keyword, "{field} is invalid")
    return template.format(field=field, value=value, article=article)
