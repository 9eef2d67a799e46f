"""A mirror folder is asked for the dataset's own folder first, then for plain and gzipped names."""

import pytest

from celllm.sources.mirror import find

PLACES = ["d/a.txt", "a.txt", "d/a.txt.gz", "a.txt.gz"]


@pytest.mark.parametrize("number", range(4), ids=PLACES)
def test_the_first_of_four_places_that_has_the_file_gives_it(tmp_path, number):
    (tmp_path / "d").mkdir()
    for place in PLACES[number:]:
        (tmp_path / place).touch()
    held = find([tmp_path], dataset="d", file="a.txt")
    assert held.path == tmp_path / PLACES[number]
    assert held.gzipped == (number >= 2)


def test_folders_are_asked_in_order(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").touch()
    assert find([tmp_path / "two", tmp_path / "one"], dataset="d", file="a.txt").path == tmp_path / "two/a.txt"


def test_what_no_folder_has_is_not_found(tmp_path):
    assert find([tmp_path], dataset="d", file="a.txt") is None
