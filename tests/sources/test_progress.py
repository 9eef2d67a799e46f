"""A log gets plain lines with size and rate, a terminal a bar."""

import io

import pytest

from celllm.sources.progress import Progress, Stopped, amount


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_a_file_that_was_fetched_and_none_for_one_that_was_there():
    stream = io.StringIO()
    progress = Progress(stream, n_files=2)
    progress.report("a")(0, 1_500_000)
    progress.report("a")(1_500_000, 1_500_000)
    progress.done("a", 1_500_000)
    progress.done("b", 7)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("a: 1.5 MB, ")
    assert line.endswith("/s (1 of 2 files)")


def test_a_log_gets_a_line_now_and_then_about_what_is_under_way():
    stream = io.StringIO()
    progress = Progress(stream, n_files=2, every_s=0.0)
    progress.report("a")(500, 2000)
    assert "0 of 2 files, " in stream.getvalue()
    assert stream.getvalue().endswith("under way: a 500 B of 2.0 kB\n")


def test_a_terminal_gets_a_bar_with_size_and_rate():
    stream = Terminal()
    progress = Progress(stream, n_files=2)
    progress.report("a")(1000, 2000)
    progress.report("a")(2000, 2000)
    progress.done("a", 2000)
    progress.close()
    assert "0/2 files" in stream.getvalue()
    assert "2.00k/2.00k" in stream.getvalue()
    assert "B/s" in stream.getvalue()


def test_a_transfer_that_starts_over_takes_its_bytes_back():
    stream = Terminal()
    progress = Progress(stream, n_files=1)
    for size in (1000, 0, 2000):
        progress.report("a")(size, 2000)
    progress.done("a", 2000)
    progress.close()
    assert "2.00k/2.00k" in stream.getvalue()


def test_the_rate_is_of_the_bytes_that_came_and_not_of_those_that_were_there(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("celllm.sources.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream, n_files=2, every_s=1000.0)
    for name in ("resumed", "anew"):
        progress.report(name)(900, 1000)
    progress.report("anew")(0, 1000)
    now[0] = 4.0
    for name in ("resumed", "anew"):
        progress.report(name)(1000, 1000)
        progress.done(name, 1000)
    resumed, anew = stream.getvalue().splitlines()
    assert "25 B/s" in resumed
    assert "250 B/s" in anew


def test_a_stopped_transfer_ends_at_its_next_byte():
    progress = Progress(io.StringIO(), n_files=1)
    progress.stop()
    with pytest.raises(Stopped):
        progress.report("a")(1, None)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (21_400_000, "21.4 MB"), (3e12, "3.0 TB")])
def test_sizes_are_written_for_people(size, text):
    assert amount(size) == text
