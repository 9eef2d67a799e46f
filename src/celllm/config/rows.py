"""Rows of config/*.tsv as options of commands: the workflow hands a job its row as JSON, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError

from celllm.config.explain import first_error
from celllm.config.settings import FitBudget
from celllm.config.tables import Dataset, Method, SourceFile, Task


def as_json(row: Any) -> str:  # noqa: ANN401 - a row, or a list of rows
    """Return a row, or a list of rows, as JSON."""
    rows = list(row) if isinstance(row, list | tuple) else None
    kind: Any = type(row) if rows is None else list[type(rows[0])] if rows else list[str]  # type: ignore[misc]
    return TypeAdapter(kind).dump_json(row if rows is None else rows, exclude_defaults=True).decode()


def _converter(kind: Any) -> Callable[[Any, Sequence[Any]], Any]:  # noqa: ANN401 - a type
    adapter = TypeAdapter(kind)

    def convert(_type: Any, tokens: Sequence[Any]) -> Any:  # noqa: ANN401 - as cyclopts has it
        (token,) = tokens
        try:
            return adapter.validate_json(token.value)
        except ValidationError as error:
            remedy = "a row of a table in config/, as JSON: copy it from snakemake --dry-run --printshellcmds"
            where = f"{token.keyword} {{field}}"
            raise first_error(error, file="command line", where=where, remedy=remedy) from None

    return convert


def _option(kind: Any) -> Parameter:  # noqa: ANN401 - a type
    return Parameter(converter=_converter(kind), n_tokens=1, accepts_keys=False, json_dict=False, json_list=False)


DatasetRow = Annotated[Dataset, _option(Dataset)]
TaskRow = Annotated[Task, _option(Task)]
MethodRow = Annotated[Method, _option(Method)]
SourceFileRows = Annotated[list[SourceFile], _option(list[SourceFile])]
FitBudgetJson = Annotated[FitBudget, _option(FitBudget)]
TaskRows = Annotated[list[Task], _option(list[Task])]
