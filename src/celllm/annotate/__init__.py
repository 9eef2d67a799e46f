"""One's own cells: embed, annotate, adapt. Called, it is the function `annotate` of its module label."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as of `annotate`
        """Label cells; see `help(celllm.annotate.label.annotate)`."""
        return import_module("celllm.annotate.label").annotate(*args, **options)


sys.modules[__name__].__class__ = _Callable
