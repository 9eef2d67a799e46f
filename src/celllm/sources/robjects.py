"""R objects (`save`, `saveRDS`) as a tree of parts: nothing in a file is run, and only what is asked for is converted.

A part's path is R's own way to it, `pbmc@assays$RNA@counts`: the object's name; `@slot`; `$name`, an element of a list,
a column of a data frame or a member of an environment; `[[2]]`, an element by its position. A name with other signs
stands in backticks: ``meta$`cell type` ``. The object of an `.rds` has no name, so its paths begin with the first step,
and the whole object is `.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from celllm.base.errors import InputError
from celllm.sources import rfile

if TYPE_CHECKING:
    from rdata.parser import RObject

STEP: Final = re.compile(r"(@|\$)(?:`([^`]+)`|([^@$\[`\s]+))|\[\[(\d+)\]\]")
ROOT: Final = re.compile(r"\.(?=$|[@$\[])|(?:`([^`]+)`|([^@$\[`\s]+))?")
NAMES: Final = {"VEC": "list", "LIST": "list", "STR": "character", "REAL": "numeric", "INT": "integer"}
PATH: Final = re.compile(r"(?:`[^`]*`|[^`\s])+")


@dataclass(frozen=True)
class Part:
    """An R object, or a part of one, and the part that it was reached from."""

    node: RObject
    path: str
    file: Path
    parent: Part | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Its classes in R: of the attribute `class`, or that of its type."""
        said = _attributes(self.node).get("class")
        if said is not None:
            return tuple(str(name) for name in texts(said))
        kind = self.node.info.type.name
        if "dim" in _attributes(self.node):
            return ("matrix", kind)
        return (NAMES.get(kind, kind),)

    @property
    def is_null(self) -> bool:
        """Whether it is R's NULL; of a slot that is a symbol of that name."""
        return _is_null(self.node)

    def attribute(self, name: str) -> RObject | None:
        """Return an attribute, such as a slot; none where it is missing or NULL."""
        found = _attributes(self.node).get(name)
        return None if found is None or _is_null(found) else found

    def slots(self) -> dict[str, RObject]:
        """Return the slots of an S4 object, by name."""
        is_s4 = self.node.info.type.name == "S4" or bool(self.node.info.gp & 16)
        return {name: node for name, node in _attributes(self.node).items() if is_s4 and name != "class"}

    def elements(self) -> dict[str, RObject]:
        """Return the named elements of a list, data frame, list of Bioconductor or environment."""
        node = self.node
        for slot in ("listData", ".xData", "data"):
            inner = self.attribute(slot)
            if inner is not None and (slot != "data" or "Assays" in self.classes[0]):
                # Bioconductor's lists and reference classes wrap theirs
                return Part(_resolved(inner), self.path, self.file).elements()
        if node.info.type.name == "VEC":
            names = _element_names(node)
            return {str(name): _resolved(one) for name, one in zip(names, node.value, strict=False) if name}
        if node.info.type.name == "ENV":
            return _members(node)
        return _pairs(node) if node.info.type.name == "LIST" else {}

    def children(self) -> Iterator[Part]:
        """Go through all parts that a step leads to."""
        for name, node in self.slots().items():
            yield self._child(f"@{quoted(name)}", node)
        is_wrapped = any(self.attribute(slot) for slot in ("listData", ".xData")) or "Assays" in self.classes[0]
        named = {} if is_wrapped else self.elements()
        for name, node in named.items():
            yield self._child(f"${quoted(name)}", node)
        if not named and self.node.info.type.name == "VEC":
            for number, node in enumerate(self.node.value, start=1):
                yield self._child(f"[[{number}]]", _resolved(node))

    def at(self, steps: str) -> Part:
        """Follow further steps, such as `@assays$RNA`; InputError names the steps that there are."""
        part, position = self, 0
        while position < len(steps):
            step = STEP.match(steps, position)
            if step is None:
                msg = f"steps such as @slot, $name and [[2]] behind {part.path}"
                raise self.wrong(msg, steps[position:])
            position = step.end()
            part = part._step(step)
        return part

    def get(self, steps: str) -> Part | None:
        """Follow further steps; none where one leads nowhere, or to NULL."""
        try:
            part = self.at(steps)
        except InputError:
            return None
        return None if part.is_null else part

    def _step(self, step: re.Match[str]) -> Part:
        name = step[2] or step[3]
        if step[4] is not None:
            number, inner = int(step[4]), self.node.value if self.node.info.type.name == "VEC" else []
            if 1 <= number <= len(inner):
                return self._child(step[0], _resolved(inner[number - 1]))
        else:
            found = (self.slots() if step[1] == "@" else self.elements()).get(name)
            if found is not None:
                return self._child(step[0], found)
        found = f"no {step[0]} in {self.path} ({self.classes[0]})"
        msg = "the path of a part"
        raise self.wrong(msg, found, [part.path for part in self.children()])

    def _child(self, step: str, node: RObject) -> Part:
        path = step if self.path == "." else self.path + step
        return Part(_resolved(node), path, self.file, self)

    def wrong(self, expected: str, found: str, offered: list[str] | None = None) -> InputError:
        """Say that the part is not what is needed, and what parts there are."""
        more = f"; its parts: {', '.join(offered[:12])}" + (", …" if len(offered) > 12 else "") if offered else ""
        remedy = f"celllm look {self.file.name} lists the parts and their paths; name one in the column part"
        return InputError(file=self.file, field=self.path, expected=expected, found=found + more, remedy=remedy)


def quoted(name: str) -> str:
    """Write a name as a path has it: in backticks where it holds signs of the path."""
    return name if re.fullmatch(r"[^@$\[`\s]+", name) else f"`{name}`"


def paths(text: str) -> list[str]:
    """Take several paths apart, which blanks separate."""
    return PATH.findall(text)


def load(path: Path) -> Part:
    """Read an R file, compressed or not, and return its object; of `save`, a list of objects whose path is empty."""
    node, is_workspace = rfile.parse(path)
    return Part(node, "" if is_workspace else ".", path)


def find(root: Part, path: str) -> Part:
    """Return the part at a path, as the module's head describes it."""
    begin = ROOT.match(path)
    name = begin and (begin[1] or begin[2])
    if root.path == ".":
        if name:
            msg = "a path that begins with @, $, [[ or is ., as the object of an .rds has no name"
            raise root.wrong(msg, name)
        return root.at(path.removeprefix("."))
    objects = root.elements()
    if name not in objects or begin is None:
        msg = f"one of the objects {', '.join(map(quoted, objects))}"
        raise root.wrong(msg, path)
    return Part(objects[name], quoted(name), root.file).at(path[begin.end() :])


def roots(root: Part) -> list[Part]:
    """Return the objects of a file."""
    if root.path == ".":
        return [root]
    return [Part(node, quoted(name), root.file) for name, node in root.elements().items()]


def texts(node: RObject) -> list[str | None]:
    """Return texts, or numbers and factors as texts; none where R says NA.

    A whole number is written as one, as R writes it.
    """
    node, attributes = _resolved(node), _attributes(node)
    if node.info.type.name == "STR":
        return [None if one.value is None else _decoded(one.value) for one in node.value]
    if node.info.type.name == "CHAR":
        return [_decoded(node.value)]
    values = node.value
    if "levels" in attributes:
        levels = texts(attributes["levels"])
        codes = np.ma.filled(values, 0)
        return [levels[code - 1] if 0 < code <= len(levels) else None for code in codes.tolist()]
    is_missing = np.ma.getmaskarray(values) | (np.isnan(values) if values.dtype.kind == "f" else False)
    return [
        None if missing else f"{int(value)}" if value == int(value) and values.dtype.kind != "b" else f"{value}"
        for value, missing in zip(np.ma.getdata(values).tolist(), is_missing.tolist(), strict=True)
    ]


def numbers(node: RObject) -> npt.NDArray[Any] | None:
    """Return whole or real numbers or truth values, NA as NaN; none where it holds no numbers, or is a factor."""
    node = _resolved(node)
    if node.info.type.name not in {"INT", "REAL", "LGL"} or "levels" in _attributes(node):
        return None
    values = node.value
    return values.astype(np.float64).filled(np.nan) if np.ma.is_masked(values) else np.ma.getdata(values)


def _is_null(node: RObject) -> bool:
    kind = node.info.type.name
    return kind in {"NILVALUE", "NIL"} or (kind == "SYM" and node.value.value == b"\x01NULL\x01")


def _element_names(node: RObject) -> list[str | None]:
    """Return the names of a list's elements; of a list with one dimension, as by() makes it, that dimension's."""
    attributes = _attributes(node)
    if "names" in attributes:
        return texts(attributes["names"])
    dimensions = attributes.get("dimnames")
    if dimensions is not None and len(dimensions.value) == 1:
        return texts(dimensions.value[0])
    return [None] * len(node.value)


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _resolved(node: RObject) -> RObject:
    while node.info.type.name == "REF" and node.referenced_object is not None:
        node = node.referenced_object
    return node


def _pairs(node: RObject | None) -> dict[str, RObject]:
    """Return the tagged elements of a list of pairs."""
    found: dict[str, RObject] = {}
    while node is not None and node.info.type.name == "LIST":
        value, rest = node.value
        if node.tag is not None:
            found[_decoded(_resolved(node.tag).value.value)] = _resolved(value)
        node = _resolved(rest)
    return found


def _attributes(node: RObject) -> dict[str, RObject]:
    return _pairs(node.attributes)


def _members(node: RObject) -> dict[str, RObject]:
    found = _pairs(_resolved(node.value.frame))
    table = _resolved(node.value.hash_table)
    for chain in table.value if table.info.type.name == "VEC" else ():
        found |= _pairs(_resolved(chain))
    return found
