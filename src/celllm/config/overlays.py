"""Recipes as lists of overlays: files of `config/recipes/` and values written in place, each laid over the ones before.

Sections are overlaid key by key; a list or a single value replaces what lies below. Nothing is checked here but the
files themselves: `celllm.config.recipe` knows the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from celllm.base.errors import InputError
from celllm.config.explain import unknown

OPERATIONAL: Final = frozenset(
    {
        "training.chunk_tokens",
        "training.keep_tokens",
        "training.health_every",
        "training.check_every",
        "training.checkpoint_every",
        "training.keep_last",
        "training.log_every",
    }
)
"""Keys that say how a run is carried out and what it tells, and not what it computes: rounding, and for `chunk_tokens`
and `keep_tokens` the order in which dropout is drawn, aside. They are nobody's scientific choice, so none of them is
marked as ours."""
_MARKS: Final = ("our_choices", "published")
IN_PLACE: Final = "values in place"


@dataclass(frozen=True)
class Resolved:
    """The values of a recipe, whichever overlays they stand in."""

    values: dict[str, Any]
    """Sections, and `our_choices` of all overlays; not yet checked."""
    origins: dict[str, str]
    """By dotted key: the file in which its value stands last."""

    def file_of(self, field: str) -> str:
        """Return the file that is to be corrected if `field`, a dotted key or a section, is wrong."""
        parts = field.split(".")
        for n_parts in range(len(parts), 0, -1):
            prefix = ".".join(parts[:n_parts])
            found = [file for key, file in self.origins.items() if key == prefix or key.startswith(f"{prefix}.")]
            if found:
                return found[-1]
        return next(iter(self.origins.values()), IN_PLACE)


def resolve(overlays: Sequence[Path | Mapping[str, Any]]) -> Resolved:
    """Lay recipe files and values over one another.

    The first overlay lists in `our_choices` the keys whose value its source does not give. What a later one sets is our
    choice too, unless it says `published: true`: then all its values are those of the source that its header names.

    InputError if a file is missing or no mapping, or a mark is not what it should be.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    choices: dict[str, None] = {}  # a set that keeps its order
    for number, overlay in enumerate(overlays):
        file = str(overlay) if isinstance(overlay, Path) else IN_PLACE
        own = read_mapping(overlay) if isinstance(overlay, Path) else dict(overlay)
        sections = {key: value for key, value in own.items() if key not in _MARKS}
        _check_marks(own, file)
        _overlay(values, sections)
        keys = dotted(sections)
        for key in keys:
            origins.pop(key, None)
            origins[key] = file
        if own.get("published"):
            for key in keys:
                choices.pop(key, None)
        elif number:
            choices |= dict.fromkeys(key for key in keys if key not in OPERATIONAL)
        choices |= dict.fromkeys(own.get("our_choices", ()))
        origins |= {f"our_choices.{key}": file for key in own.get("our_choices", ())}
    if choices:
        values["our_choices"] = list(choices)
    return Resolved(values, origins)


def paths_of(overlays: str | Sequence[str | Mapping[str, Any]], folder: Path) -> list[Path | Mapping[str, Any]]:
    """Return the overlays of one encoder of the configuration: names of recipes become their files.

    InputError for a name without a file in `folder`.
    """
    listed = [overlays] if isinstance(overlays, str) else overlays
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    found: list[Path | Mapping[str, Any]] = []
    for overlay in listed:
        if isinstance(overlay, str) and overlay not in known:
            expected = f"names of recipes: {', '.join(known)}"
            raise unknown(overlay, known, file=folder, field="encoders", expected=expected)
        found.append(folder / f"{overlay}.yaml" if isinstance(overlay, str) else overlay)
    return found


def dotted(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the keys of nested mappings, joined by dots, in order."""
    keys: list[str] = []
    for key, value in values.items():
        keys += dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return keys


def _overlay(values: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(values.get(key, {}), dict):
            _overlay(values.setdefault(key, {}), value)
        else:
            values[key] = value


class UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that stands twice in a mapping: YAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Make a mapping, its keys checked."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"{key.value} stands here a second time"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; a key that stands twice, and a file that is none, are refused."""
    field, remedy = "(whole file)", "start from config/recipes/paper.yaml"
    try:
        with path.open(encoding="utf-8") as file:
            values = yaml.load(file, Loader=UniqueKeyLoader)  # a SafeLoader: it makes plain values and nothing else
    except yaml.MarkedYAMLError as error:
        line = "?" if error.problem_mark is None else error.problem_mark.line + 1
        field, found, remedy = f"line {line}", str(error.problem), "correct the line"
    except OSError as error:
        found = str(error.strerror)
    else:
        if isinstance(values, dict):
            return values
        found = type(values).__name__
    raise InputError(file=path, field=field, expected="a YAML mapping, key: value", found=found, remedy=remedy)


def _check_marks(own: Mapping[str, Any], file: str) -> None:
    choices = own.get("our_choices", [])
    if not isinstance(choices, list) or not all(isinstance(name, str) for name in choices):
        raise InputError(
            file=file,
            field="our_choices",
            expected="a list of dotted keys, such as training.steps",
            found=repr(choices),
            remedy="write our_choices: [training.steps], or remove it",
        )
    if not isinstance(own.get("published", False), bool):
        raise InputError(
            file=file,
            field="published",
            expected="true, if all values of the file are those of the source it names; else no such key",
            found=repr(own["published"]),
            remedy="put values of our own into an overlay of their own",
        )
