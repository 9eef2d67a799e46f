"""How recipe files are put together: `base: name` takes over the values of `name.yaml` in the same folder.

Sections are overlaid key by key; a list or a single value replaces what the base has. Nothing is checked here but the
files themselves: `celllm.config.recipe` knows the keys.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from celllm.base.errors import InputError

OPERATIONAL: Final = frozenset(
    {
        "training.chunk_tokens",
        "training.compile",
        "training.health_every",
        "training.check_every",
        "training.checkpoint_every",
        "training.keep_last",
        "training.log_every",
    }
)
"""Keys that say how a run is carried out and what it tells, and not what it computes: rounding, and for `chunk_tokens`
the order in which dropout is drawn, aside. They are nobody's scientific choice, so none of them is marked as ours."""
_OWN: Final = ("base", "our_choices", "published")


@dataclass(frozen=True)
class Resolved:
    """The values of a recipe, whichever files they stand in.

    Parameters
    ----------
    values
        Sections, and `our_choices` of all files; not yet checked.
    origins
        By dotted key: the file in which its value stands; by `our_choices.{key}`: the one that marks it last.
    files
        The recipe's own file, its base, the base of that, and so on.
    """

    values: dict[str, Any]
    origins: dict[str, Path]
    files: tuple[Path, ...]

    def file_of(self, field: str) -> Path:
        """Return the file that is to be mended if `field` (a dotted key, or a part of one) is wrong."""
        inside = {file for key, file in self.origins.items() if key.startswith(f"{field}.")}
        if field not in self.origins and inside:
            return next(file for file in self.files if file in inside)
        return self.given_in(field) or self.files[0]

    def given_in(self, key: str) -> Path | None:
        """Return the file in which the value of a dotted key stands; None: in none, it is the key's default."""
        parts = key.split(".")
        for n_parts in range(len(parts), 0, -1):
            known = self.origins.get(".".join(parts[:n_parts]))
            if known is not None:
                return known
        return None


def sources(path: Path | str) -> list[Path]:
    """Return the files a recipe is made of: its own, its base, the base of that, and so on.

    Raises
    ------
    InputError
        For a base that is not there, or that leads back to a file before it, and for a file that is no recipe.
    """
    return [file for file, _ in _chain(Path(path))]


def resolve(path: Path | str) -> Resolved:
    """Read a recipe file and what it is based on, and lay them over one another.

    What a file with a base sets is our choice, unless it stands in the file's `published`: so no value that is changed
    keeps the standing of the one it replaces. Marks of the base stay. A file without a base lists its own.

    Raises
    ------
    InputError
        As in `sources`; and for an entry of `published` that the same file does not set, or marks as our choice too.
    """
    chain = _chain(Path(path))
    values: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    choices: dict[str, None] = {}  # a set that keeps its order
    for file, own in reversed(chain):
        sections = {key: value for key, value in own.items() if key not in _OWN}
        _overlay(values, sections, origins, file)
        marked, published = _names(own, "our_choices", file), _published(own, sections, file)
        if "base" in own:
            marked += [key for key in dotted(sections) if key not in published and key not in OPERATIONAL]
        for key in published:
            choices.pop(key, None)
        choices |= dict.fromkeys(marked)
        origins |= {f"our_choices.{key}": file for key in marked}
    if choices:
        values["our_choices"] = list(choices)
    return Resolved(values, origins, tuple(file for file, _ in chain))


def dotted(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the keys of nested mappings, joined by dots, in order."""
    keys: list[str] = []
    for key, value in values.items():
        keys += dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return keys


def suggestion(key: str, known: Sequence[str]) -> str:
    """Say what to do about a key that is not known."""
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else "remove it"


def _overlay(
    values: dict[str, Any], over: Mapping[str, Any], origins: dict[str, Path], file: Path, at: str = ""
) -> None:
    for key, value in over.items():
        field = f"{at}{key}"
        if isinstance(value, dict) and (key not in values or isinstance(values[key], dict)):
            _overlay(values.setdefault(key, {}), value, origins, file, f"{field}.")
            continue
        for below in [known for known in origins if known.startswith(f"{field}.")]:
            del origins[below]
        values[key] = value
        origins[field] = file


def _chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    return list(_walk(path))


def _walk(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    seen: list[str] = []
    while True:
        own = _mapping(path)
        yield path, own
        if "base" not in own:
            return
        seen.append(path.stem)
        name = own["base"]
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        if not isinstance(name, str) or name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise InputError(
                file=path,
                field="base",
                expected=f"the name of a recipe in {path.parent}",
                found=repr(name),
                remedy=f"did you mean base: {near[0]}?"
                if near
                else f"write {path.parent / f'{name}.yaml'}, or remove the key and give every section",
            )
        if name in seen:
            raise InputError(
                file=path,
                field="base",
                expected="a recipe that is not based on this one",
                found=" -> ".join([*seen[seen.index(name) :], name]),
                remedy=f"remove `base: {name}` from {path}, or name another recipe",
            )
        path = path.with_name(f"{name}.yaml")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"{key.value} stands here a second time"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _mapping(path: Path) -> dict[str, Any]:
    field, expected = "(whole file)", "a mapping with tokens, genes, encoder, training, or with base"
    try:
        with path.open(encoding="utf-8") as file:
            values = yaml.load(file, Loader=_Loader)  # a SafeLoader: it makes plain values and nothing else
    except yaml.MarkedYAMLError as error:
        line = "?" if error.problem_mark is None else error.problem_mark.line + 1
        remedy = "correct the line; config/recipes/demo.yaml shows the form"
        raise InputError(
            file=path, field=f"line {line}", expected="YAML", found=str(error.problem), remedy=remedy
        ) from None
    if not isinstance(values, dict):
        remedy = "start from config/recipes/demo.yaml"
        raise InputError(file=path, field=field, expected=expected, found=type(values).__name__, remedy=remedy)
    return values


def _names(own: Mapping[str, Any], field: str, file: Path) -> list[str]:
    names = own.get(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            file=file,
            field=field,
            expected="a list of dotted keys, such as training.steps",
            found=repr(names),
            remedy=f"write {field}: [training.steps], or remove it",
        )
    return list(names)


def _published(own: Mapping[str, Any], sections: Mapping[str, Any], file: Path) -> list[str]:
    names = _names(own, "published", file)
    if names and "base" not in own:
        raise InputError(
            file=file,
            field="published",
            expected="no such key without a base: what our_choices does not list is published",
            found=", ".join(names),
            remedy="remove it",
        )
    known = dotted(sections)
    for name in names:
        if name not in known:
            raise InputError(
                file=file,
                field="published",
                expected="keys that this file sets: it must hold the value that its source gives",
                found=repr(name),
                remedy=suggestion(name, known) if known else "remove it",
            )
        if name in own.get("our_choices", []):
            raise InputError(
                file=file,
                field="published",
                expected="keys that our_choices of this file does not list",
                found=repr(name),
                remedy="remove it from one of the two",
            )
    return names
