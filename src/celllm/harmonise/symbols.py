"""Which gene a source means by a name: Ensembl or Entrez id, approved or previous symbol, a repair, or an alias.

A name is settled over all approved HGNC genes first and only then restricted to the vocabulary.
Otherwise the old symbol of a non-coding gene could hit a coding gene that merely shares it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.readers.genes import ENSEMBL, cleaned

MAPPED_ROUTES = ("ensembl", "entrez", "approved", "previous", "alias", "repaired")
"""How a name can map, in the order in which one of several names of a gene is chosen."""
UNMAPPED_ROUTES = ("ambiguous", "outside_vocabulary", "unknown")
"""Why a name does not: several genes; a gene that is not in the vocabulary; no gene that HGNC knows."""

UNMAPPED = -1
SEVERAL = -2
"""A name of more than one gene."""

JOINED = re.compile(r"(.+?)[_-](ENS[A-Z]*G\d+(?:\.\d+)?.*)")
"""PanglaoDB's `SYMBOL_ENSG…`, split at the first `_ENS` or `-ENS`."""
ENTREZ = re.compile(r"(?:(.+) \()?(\d+)(?(1)\))")
"""A plain number, or DepMap's `SYMBOL (number)`. No approved symbol is a number, so a number is an Entrez id."""
ID_FIRST = re.compile(r"(ENSG\d+(?:\.\d+)?)[_|:; -]+(?!PAR)(.+)")
"""`ENSG…_SYMBOL`."""
UNIQUE_SUFFIX = re.compile(r"(.+)\.\d+")
"""R's make.unique puts `.1`, `.2` … behind a repeated name."""
HYPHEN_SUFFIX = re.compile(r"(.+)-\d{1,2}")
"""scanpy's var_names_make_unique puts `-1`, `-2` … behind it, which genes may be called too (`NKX2-1`)."""
OTHER_SPECIES = re.compile(r"ENS[A-Z]+G\d")
DATE = re.compile(r"(\d{1,2})-(Sep|Mar|Dec)", re.IGNORECASE)
DATED = {"sep": ("SEPT",), "mar": ("MARCH", "MARC"), "dec": ("DEC",)}
"""Gene families that spreadsheets turn into dates; Ziemann et al. 2016, Genome Biol 17:177."""


@dataclass(frozen=True)
class Mapping:
    """Where N names of a source go."""

    names: list[str]
    index_N: npt.NDArray[np.int64]
    """Vocabulary index of each, -1 where it does not map."""
    routes: list[str]
    conflicts: list[str] = field(default_factory=list)
    """Names whose Ensembl id is one gene's and whose symbol is another's; the id has decided."""


class SymbolIndex:
    """Look-ups over all approved genes of HGNC, as sources.hgnc reads them."""

    def __init__(self, hgnc: pd.DataFrame) -> None:
        self.hgnc_ids = [str(identifier) for identifier in hgnc["hgnc_id"]]
        self._ensembl = _unique((str(name), row) for row, name in enumerate(hgnc["ensembl_gene_id"]) if name)
        self._entrez = _unique((str(name), row) for row, name in enumerate(hgnc["entrez_id"]) if name)
        self._approved = _unique((str(name), row) for row, name in enumerate(hgnc["symbol"]))
        self._previous = _unique((name, row) for row, names in enumerate(hgnc["prev_symbol"]) for name in names)
        self._upper = _unique((name.upper(), row) for name, row in self._previous.items()) | _unique(
            (name.upper(), row) for name, row in self._approved.items()
        )
        # Some aliases are plain numbers (52, 225, 3635). As a gene's name a number is an Entrez id.
        self._alias = _unique(
            (name, row) for row, names in enumerate(hgnc["alias_symbol"]) for name in names if not name.isdecimal()
        )

    def settle(self, name: str, company: Collection[str] = ()) -> tuple[int, str]:
        """Return the HGNC row a name means (or UNMAPPED) and the route; `company` are the other symbols of its file."""
        name = cleaned(name)
        numbered = ENTREZ.fullmatch(name)
        if numbered:
            row = self._entrez.get(numbered[2], UNMAPPED)
            if row >= 0:
                return row, "entrez"
            if numbered[1] is None:
                return UNMAPPED, "ambiguous" if row == SEVERAL else "unknown"
            name = numbered[1]
        identifier, symbol = divided(name)
        if OTHER_SPECIES.match(identifier):
            return UNMAPPED, "unknown"
        row = self._by_ensembl(identifier) if identifier else UNMAPPED
        if row >= 0:
            return row, "ensembl"
        if row == SEVERAL and not symbol:
            return UNMAPPED, "ambiguous"
        return self._by_symbol(symbol or name, company)

    def approved(self, symbol: str) -> int:
        """Return the row of an approved symbol, or UNMAPPED."""
        return self._approved.get(symbol, UNMAPPED)

    def _by_symbol(self, symbol: str, company: Collection[str]) -> tuple[int, str]:
        for route, table in (("approved", self._approved), ("previous", self._previous)):
            row = table.get(symbol, UNMAPPED)
            if row != UNMAPPED:
                return (UNMAPPED, "ambiguous") if row == SEVERAL else (row, route)
        repaired, alias = self._repaired(symbol, company), self._alias.get(symbol, UNMAPPED)
        if alias == UNMAPPED or repaired[0] >= 0:
            return repaired
        # An alias that would be another gene's symbol, but for a number, is left open.
        suffixed = HYPHEN_SUFFIX.fullmatch(symbol)
        stem = self.approved(suffixed[1]) if suffixed else UNMAPPED
        if alias == SEVERAL or repaired[1] == "ambiguous" or stem not in {UNMAPPED, alias}:
            return UNMAPPED, "ambiguous"
        return alias, "alias"

    def _by_ensembl(self, name: str) -> int:
        found = ENSEMBL.match(name)
        return self._ensembl.get(found[0], UNMAPPED) if found else UNMAPPED

    def _repaired(self, name: str, company: Collection[str]) -> tuple[int, str]:
        """Undo what R, scanpy and spreadsheets do to names. More than one possible gene is ambiguous."""
        rows = {self._approved.get(candidate, UNMAPPED) for candidate in _undotted(name)}
        suffixed = HYPHEN_SUFFIX.fullmatch(name)
        if suffixed and suffixed[1] in company:
            rows.add(self.settle(suffixed[1])[0])
        if name == name.upper():
            rows.add(self._upper.get(name, UNMAPPED))
        rows |= {self._approved.get(candidate, self._previous.get(candidate, UNMAPPED)) for candidate in _undated(name)}
        rows.discard(UNMAPPED)
        if not rows:
            return UNMAPPED, "unknown"
        if len(rows) > 1 or SEVERAL in rows:
            return UNMAPPED, "ambiguous"
        return rows.pop(), "repaired"


def divided(name: str) -> tuple[str, str]:
    """Divide a name into an Ensembl id and a symbol, either of which may be empty where no id is."""
    first = ID_FIRST.fullmatch(name)
    if first:
        return first[1], first[2]
    joined = JOINED.fullmatch(name)
    if joined:
        return joined[2], joined[1]
    return (name, "") if name.startswith("ENS") and (ENSEMBL.match(name) or OTHER_SPECIES.match(name)) else ("", name)


def map_names(names: Sequence[str], index: SymbolIndex, vocabulary: Vocabulary) -> Mapping:
    """Map names of a source to vocabulary indices.

    Order of trust: Ensembl id without version, Entrez id, approved symbol, unique previous symbol; then a repair of
    what R (`RGS5.1`, `NKX6.2`), scanpy (`TBCE-1`, where TBCE is among the names), spreadsheets (`3-Mar`) and capitals
    (`C1ORF112`) did to it; last a unique alias. Numbers are Entrez ids where most names are numbers. The order of the
    names does not matter.
    """
    position = {identifier: i for i, identifier in enumerate(vocabulary.genes["hgnc_id"])}
    index_N = np.full(len(names), UNMAPPED, dtype=np.int64)
    routes: list[str] = []
    conflicts: list[str] = []
    bare = [cleaned(name) for name in names]
    symbols = [divided(name)[1] for name in bare]
    company = frozenset(symbols)
    are_numbers = 2 * sum(name.isdecimal() for name in bare) >= len(bare)
    for i, (name, symbol) in enumerate(zip(bare, symbols, strict=True)):
        row, route = (UNMAPPED, "unknown") if name.isdecimal() and not are_numbers else index.settle(name, company)
        if route == "ensembl" and symbol and index.approved(symbol) not in {UNMAPPED, row}:
            conflicts.append(names[i])
        if row >= 0:
            index_N[i] = position.get(index.hgnc_ids[row], UNMAPPED)
            route = route if index_N[i] >= 0 else "outside_vocabulary"
        routes.append(route)
    return Mapping(names=list(names), index_N=index_N, routes=routes, conflicts=conflicts)


def one_name_a_gene(mapping: Mapping) -> npt.NDArray[np.int64]:
    """Choose the name that stands for each gene where only one can: by order of trust, of equals the first.

    Returns the positions of the chosen names in `mapping.names`, ascending.
    """
    mapped = np.flatnonzero(mapping.index_N >= 0)
    trust = np.array([MAPPED_ROUTES.index(mapping.routes[i]) for i in mapped], dtype=np.int64)
    ordered = mapped[np.argsort(trust, kind="stable")]
    _, firsts = np.unique(mapping.index_N[ordered], return_index=True)
    return np.sort(ordered[firsts])


def identified(listed: Vocabulary, hgnc: pd.DataFrame) -> Vocabulary:
    """Give genes that are known by symbol alone their ids, by which cells are aligned; symbols and order stay.

    A list that was made with an older HGNC may call one gene by two symbols. Then the approved symbol gets the gene,
    else the previous one, else the alias, and of equals the first. The others, and symbols that HGNC does not know,
    have no id: no cell will ever express them.
    """
    index = SymbolIndex(hgnc)
    settled = [index.settle(symbol) for symbol in listed.symbols]
    mapped = [i for i, (row, _) in enumerate(settled) if row >= 0]
    genes = listed.genes.assign(hgnc_id="", ensembl="", entrez="")
    taken = set()
    for i in sorted(mapped, key=lambda i: MAPPED_ROUTES.index(settled[i][1])):
        row = settled[i][0]
        if row not in taken:
            taken.add(row)
            found = hgnc.iloc[row]
            ids = [found["hgnc_id"], found["ensembl_gene_id"], found["entrez_id"]]
            genes.loc[genes.index[i], ["hgnc_id", "ensembl", "entrez"]] = ids
    return Vocabulary(genes)


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Make a look-up in which a name of several genes gives SEVERAL."""
    table: dict[str, int] = {}
    for name, row in pairs:
        table[name] = row if table.get(name, row) == row else SEVERAL
    return table


def _undotted(name: str) -> set[str]:
    """Undo make.unique's suffix, and the dots that make.names puts in place of hyphens."""
    if "." not in name:
        return set()
    suffix = UNIQUE_SUFFIX.fullmatch(name)
    stems = {name, suffix[1]} if suffix else {name}
    return stems | {stem.replace(".", "-") for stem in stems}


def _undated(name: str) -> set[str]:
    """List the symbols that a spreadsheet shows as this date."""
    date = DATE.fullmatch(name)
    return {f"{stem}{int(date[1])}" for stem in DATED[date[2].lower()]} if date else set()
