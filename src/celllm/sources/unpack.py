"""Chosen members of an archive as files of their own, each of the sample that its name says: GEO's `GSE…_RAW.tar`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from celllm.base.atomic import writing
from celllm.sources.archives import members, unreadable, wrong_members
from celllm.sources.checksums import FILES
from celllm.sources.raw import RawFile, describe
from celllm.sources.samples import SAFE


def unpacked(archive: RawFile, folder: Path) -> list[RawFile]:
    """Unpack the members in whose names the pattern `part` is found; its group is the sample, also as a fact.

    Names of folders stand before a file's, with `_` between; `.gz` goes. InputError if no member fits, or a name
    is unsafe.
    """
    pattern = _pattern(archive)
    files: list[RawFile] = []
    names = []
    for name, stream in members(archive.path):
        names.append(name)
        found = pattern.search(name)
        if found is None:
            continue
        place = folder / name.removesuffix(".gz").removeprefix("./").replace("/", "_")
        if not SAFE.fullmatch(place.name) or place == archive.path or any(place == file.path for file in files):
            expected = "members that become files of different names, of letters, digits and . _ + -"
            raise unreadable(archive.path, expected, place.name, field=f"member {name}")
        with writing(place) as part, part.open("wb") as file:
            shutil.copyfileobj(stream, file)
        sample = found[1]
        made = describe(place, sample=sample, facts=archive.facts | {"sample": sample})
        files.append(RawFile(**vars(made) | {"source": archive.source, "use": archive.use}))
    if not files:
        raise wrong_members(archive.path, expected=f"members that fit {archive.part}", found=names)
    return files


def _pattern(archive: RawFile) -> re.Pattern[str]:
    try:
        pattern = re.compile(str(archive.part))
    except re.error as error:
        found = f"{archive.part}: {error}"
    else:
        if pattern.groups == 1:
            return pattern
        found = f"{archive.part}, with {pattern.groups} groups"
    expected = "a pattern of members' names with one group, the sample: (GSM\\d+)_.*"
    raise unreadable(FILES, expected, found, field=f"part of {archive.name}", remedy="correct the column part")
