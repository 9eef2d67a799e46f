"""A failed cell of the benchmark is told of in place of its predictions."""

import pytest

from celllm.bench import predictions
from celllm.bench.commands import record_failure

MENDABLE = """python -m celllm fit --task t
error: methods.tsv: options
  expected: any of C
  found:    D
  do this:  correct or remove it
"""


def record(folder, log, *extra):
    (folder / "fit.log").write_text(log)
    argv = ["--task", "t", "--method", "m", "--split", "3", "--seed", "1", "--status", "137"]
    argv += ["--log", str(folder / "fit.log"), "--predictions", str(folder / "p.parquet"), *extra]
    record_failure.main(argv)
    return predictions.failure_of(folder / "p.parquet")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        pytest.param(
            MENDABLE,
            "methods.tsv: options expected: any of C found:    D do this:  correct or remove it",
            id="our own message, whole",
        ),
        pytest.param("Traceback\n  line\nKeyError: 'x'\n\n", "KeyError: 'x'", id="last line of a traceback"),
        pytest.param("", "its log is empty", id="killed before it said anything"),
    ],
)
def test_status_message_and_log_are_kept(tmp_path, log, message):
    failure = record(tmp_path, log)

    assert (failure.task, failure.method, failure.split, failure.seed) == ("t", "m", 3, 1)
    assert (failure.status, failure.message, failure.log) == (137, message, str(tmp_path / "fit.log"))


def test_with_stop_the_job_fails_with_the_same_status_and_writes_nothing(tmp_path):
    with pytest.raises(SystemExit) as left:
        record(tmp_path, "", "--on-failure", "stop")

    assert left.value.code == 137
    assert not (tmp_path / "p.parquet").exists()
