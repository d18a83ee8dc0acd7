"""Write sentiment-chart/values.schema.json and the table in its README from values.yaml.

Every value has a comment `# --` that says what it is for; `# @schema {...}` adds to the JSON schema
that its default implies. A map without such comments is a group of values.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "sentiment-chart"
BEGIN, END = "<!-- values: written by `make generate` -->\n", "<!-- end of values -->\n"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


@dataclass(frozen=True, slots=True)
class Value:
    """One value that may be set: its path, default, meaning and schema."""

    path: tuple[str, ...]
    default: Any
    meaning: str
    schema: dict[str, Any]


def read_values(text: str) -> Iterator[Value]:
    """The values of a values.yaml.

    Raises:
        ValueError: a value has no comment.
    """
    yield from _read(yaml.compose(text), yaml.safe_load(text), text.splitlines(), ())


def _read(
    node: yaml.MappingNode, values: dict[str, Any], lines: list[str], path: tuple[str, ...]
) -> Iterator[Value]:
    for key, child in node.value:
        here, default = (*path, key.value), values[key.value]
        meaning, schema = comment_above(lines, key.start_mark.line)
        if meaning:
            kind = {"type": TYPES.get(type(default), "object")}
            yield Value(here, default, meaning, kind | schema)
        elif isinstance(default, dict) and default:
            yield from _read(child, default, lines, here)
        else:
            raise ValueError(f"values.yaml: {'.'.join(here)} has no comment `# --`.")


def comment_above(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    """What the comment right above a line says: the meaning and the schema."""
    first = line
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
    text = " ".join(each.strip().removeprefix("#").strip() for each in lines[first:line])
    meaning, _, schema = text.removeprefix("-- ").partition("@schema")
    return (meaning.strip() if text.startswith("-- ") else ""), yaml.safe_load(schema) or {}


def schema_of(values: list[Value]) -> dict[str, Any]:
    """The JSON schema, which refuses what it does not know by its name."""
    root = _group()
    root = {"$schema": "http://json-schema.org/draft-07/schema#", **root}
    # A parent chart hands its global values down.
    root["properties"]["global"] = {"type": "object"}
    for value in values:
        group = root
        for name in value.path[:-1]:
            group = group["properties"].setdefault(name, _group())
        about = {"description": value.meaning, "default": value.default}
        group["properties"][value.path[-1]] = value.schema | about
    return root


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def table_of(values: list[Value]) -> str:
    """The README's table."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in values:
        default = json.dumps(value.default, ensure_ascii=False)
        rows.append(f"| `{'.'.join(value.path)}` | `{default}` | {value.meaning} |")
    return "\n".join(rows) + "\n"


def generated() -> dict[Path, str]:
    """Each file that is generated, with its text."""
    values = list(read_values((CHART / "values.yaml").read_text()))
    readme = (CHART / "README.md").read_text()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        CHART / "values.schema.json": json.dumps(schema_of(values), indent=2) + "\n",
        CHART / "README.md": f"{before}{BEGIN}{table_of(values)}{END}{after}",
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
