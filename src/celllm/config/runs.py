"""What a table of runs asks for, checked against the tables it names rows of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celllm.base.errors import InputError
from celllm.config.catalogue import Runs
from celllm.config.explain import unknown
from celllm.config.tables import COMPONENTS, PRETRAIN, Method, Run, Table, Task


@dataclass(frozen=True)
class Planned:
    """Runs by task and method."""

    runs: dict[str, dict[str, Runs]]
    """Splits and model seeds of each method on each task, in the order of the table."""
    optional: frozenset[str]
    """Tasks that are left out where their files are not at hand."""
    methods: dict[str, Method]
    """All methods by name: those of the table, and those that start from encoders of other pretraining seeds."""


def planned(
    table: Table[Run],
    *,
    tasks: Table[Task],
    methods: Table[Method],
    encoders: Sequence[str],
    corpus: Sequence[str],
) -> Planned:
    """Read off a table of runs what is to be run; `encoders` and `corpus` are those of the configuration.

    InputError for an unknown name, a method on a task of another kind or of an encoder that the configuration lacks, a
    split that the task has not, a pair of task and method that stands twice, and a task whose lines are in the corpus.
    """
    found: dict[str, dict[str, Runs]] = {}
    optional = set()
    known = {row.method: row for row in methods}
    for row in table:
        task = _known(row.task, tasks, table, "task")
        if task.kind == "regression" and task.dataset in corpus:
            expected = "no data set in the corpus whose lines are tested by a task"
            remedy = f"take {task.dataset} out of corpus, or {task.task} out of the runs"
            raise _refused(table, f"task {task.task}", expected, task.dataset, remedy)
        splits = task.split_seeds if row.splits is None else row.splits
        extra = sorted(set(splits) - set(task.split_seeds))
        if extra:
            expected = f"split seeds of the task in {tasks.file}: {' '.join(map(str, task.split_seeds))}"
            remedy = "take them out, or add them to the task's split_seeds"
            raise _refused(table, f"splits of {task.task}", expected, " ".join(map(str, extra)), remedy)
        if row.optional:
            optional.add(task.task)
        of_task = found.setdefault(task.task, {})
        for name in row.methods:
            stem, _, seed = name.partition(PRETRAIN)
            method = _known(stem if seed.isdecimal() else name, methods, table, f"methods of {task.task}")
            if seed.isdecimal():
                method = known[name] = method.pretrained_with(int(seed))
            _check_method(method, task, table=table, encoders=encoders)
            if name in of_task:
                field, remedy = f"methods of {task.task}", "take it out of one of the two"
                raise _refused(table, field, "each method once a task", f"{name} twice", remedy)
            of_task[name] = Runs(splits=splits, seeds=row.seeds if method.seeded else row.seeds[:1])
    beside = sorted(known, key=lambda name: methods.names.index(known[name].stem))
    return Planned(found, frozenset(optional), {name: known[name] for name in beside})


def _refused(table: Table[Run], field: str, expected: str, found: str, remedy: str) -> InputError:
    return InputError(file=table.file, field=field, expected=expected, found=found, remedy=remedy)


def _known(name: str, rows: Table[Task] | Table[Method], table: Table[Run], field: str):  # type: ignore[no-untyped-def] # noqa: ANN202
    if name in rows.names:
        return rows.row(name)
    expected = f"names that stand in {rows.file}"
    raise unknown(name, rows.names, file=table.file, field=field, expected=expected)


def _check_method(method: Method, task: Task, *, table: Table[Run], encoders: Sequence[str]) -> None:
    name, start = method.method, method.encoder
    if method.kind != task.kind:
        fault = (
            f"methods of kind {task.kind}, as the task",
            f"{name}, of kind {method.kind}",
            "take it out of this row",
        )
    elif method.pretrain_seed is not None and start in (None, COMPONENTS):
        expected = "another pretraining seed of methods alone that start from a pretrained encoder"
        fault = (expected, name, f"write {method.stem}")
    elif start not in (None, COMPONENTS, *encoders):
        expected = f"methods of the configuration's encoders: {', '.join(encoders)}"
        remedy = f"add {start} to encoders in the configuration, or take the method out"
        fault = (expected, f"{name}, which starts from {start}", remedy)
    else:
        return
    raise _refused(table, f"methods of {task.task}", *fault)
