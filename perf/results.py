"""Write the tables of docs/results.md and docs/results/real.tsv from a finished run of config/real.yaml.

    python perf/results.py --run . --date "29 November 2026" --hardware "2 CPU cores, shared" --commit abc1234

The page keeps its prose; what stands between the marks is written anew. Bars are differences of means over splits,
paired by split and by test unit; where a bar says best, the row of highest reported mean is taken, of ours and of the
rivals alike.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.interval import MANY, Mean, mean_over
from celllm.bench.influence import Influence
from celllm.config import catalogue as catalogues
from celllm.config.catalogue import Catalogue
from celllm.config.references import LINEAR_MODELS
from celllm.config.tables import Method
from celllm.report.results import Results, read, read_influences

PER_DRUG = "pearson_per_drug"
MET = {True: "met", False: "**missed**"}


@dataclass(frozen=True)
class Scores:
    """Scores of a run, what they are of, and how much each test unit weighs in them."""

    results: Results
    catalogue: Catalogue
    influences: Mapping[tuple[str, str], Mapping[int, Influence]]

    def best(self, task: str, methods: Sequence[str]) -> str:
        """Return the method of highest mean of the task's headline metric."""
        headline = self.catalogue.tasks[task].headline
        return max(methods, key=lambda name: self.results.mean(task, name, headline))

    def difference(self, task: str, one: str, other: str) -> Mean:
        """Return the mean difference of two methods over the splits of a task and the pretraining seeds of `one`."""
        return over_seeds([self._difference(task, name, other) for name in self.seeds_of(task, one)])

    def seeds_of(self, task: str, method: str) -> list[str]:
        """Return a method and those that differ from it in their pretraining seed alone."""
        return [name for name in self.catalogue.runs[task] if self.catalogue.methods[name].stem == method]

    def _difference(self, task: str, one: str, other: str) -> Mean:
        headline = self.catalogue.tasks[task].headline
        mine, theirs = (self.results.by_split(task, name, headline) for name in (one, other))
        weights = [self.influences.get((task, name), {}) for name in (one, other)]
        both = [split for split in mine if split in theirs]
        errors = [(weights[0][split] - weights[1][split]).error if weights[0] else math.nan for split in both]
        return mean_over([mine[split] - theirs[split] for split in both], errors, **self.results.shares(task, one))

    def of_kind(self, task: str, is_wanted: set[str]) -> list[str]:
        """Return the methods of a task that have a score and are among the wanted."""
        return [name for name in self.catalogue.runs[task] if name in is_wanted and self.results.has(task, name)]


def over_seeds(means: Sequence[Mean]) -> Mean:
    """Return the mean over pretraining seeds, all on the same splits: what splits make uncertain, and what seeds do."""
    if len(means) == 1:
        return means[0]
    splits = sum(mean.variance for mean in means) / len(means)
    seeds = float(np.var([mean.value for mean in means], ddof=1)) / len(means)
    freedom = (splits + seeds) ** 2 / (splits**2 / means[0].freedom + seeds**2 / (len(means) - 1))
    return Mean(sum(mean.value for mean in means) / len(means), splits + seeds, min(MANY, freedom))


def together(means: Sequence[Mean]) -> Mean:
    """Return the mean of independent means, such as those of several data sets."""
    variances = [mean.variance / len(means) ** 2 for mean in means]
    freedom = sum(variances) ** 2 / sum(v**2 / mean.freedom for v, mean in zip(variances, means, strict=True))
    return Mean(sum(mean.value for mean in means) / len(means), sum(variances), min(MANY, freedom))


def shown(mean: Mean, bounds: tuple[float, float] | None = (-1, 1)) -> str:
    """Write a difference with its 95 % interval."""
    low, high = mean.interval(bounds)
    return f"{mean.value:+.3f} [{low:+.3f}, {high:+.3f}]"


def is_ours(row: Method) -> bool:
    """Whether a method starts from the pretrained encoder of the configuration's seed."""
    return row.encoder == "celllm" and row.pretrain_seed is None and not row.options.get("scratch", False)


def bars(scores: Scores) -> list[tuple[str, str, str]]:
    """Return each bar, what was found, and whether it is met."""
    methods = scores.catalogue.methods
    ours = {name for name, row in methods.items() if is_ours(row)}
    linear = {name for name, row in methods.items() if row.role in LINEAR_MODELS}
    tasks = [name for name in scores.catalogue.runs if scores.catalogue.tasks[name].kind == "classification"]
    many = [task for task in tasks if scores.catalogue.tasks[task].validation]
    few = [task for task in tasks if task not in many]
    against = [task for task in many if scores.of_kind(task, {"scbert"}) and task.startswith("annotation")]
    rows = []
    if against:
        found = together([scores.difference(task, "celllm", "scbert") for task in against])
        is_met = found.value >= 0.03 and found.interval((-1, 1))[0] > 0
        rows.append(
            (f"annotation, {len(against)} sets: CellLM fine-tuned from scBERT-like, +0.03", shown(found), MET[is_met])
        )
    for task in many:
        one, other = (scores.best(task, scores.of_kind(task, kind)) for kind in (ours, linear))
        found = scores.difference(task, one, other)
        text = f"{methods[one].title} from {methods[other].title}: {shown(found)}"
        rows.append(
            (
                f"{scores.catalogue.tasks[task].title}: best CellLM row from best linear, not below",
                text,
                MET[found.value >= 0],
            )
        )
    pairs = [(task, scores.best(task, scores.of_kind(task, ours))) for task in few]
    if pairs:
        found = together([scores.difference(task, name, "pca_logistic") for task, name in pairs])
        names = ", ".join(dict.fromkeys(methods[name].title for _, name in pairs))
        same = together([scores.difference(task, "celllm_components", "pca_logistic") for task in few])
        text = f"{names}: {shown(found)}; {methods['celllm_components'].title} on all: {shown(same)}"
        rows.append(
            (
                f"5 % of the labels, {len(few)} tasks: best CellLM row from components and logistic, +0.03",
                text,
                MET[found.value >= 0.03],
            )
        )
    for task in (
        name for name, row in scores.catalogue.tasks.items() if name in scores.catalogue.runs and row.split == "lines"
    ):
        best = scores.best(task, scores.of_kind(task, ours))
        values = [
            [scores.results.mean(task, name, metric) for metric in ("pearson", PER_DRUG)] for name in (best, "ridge")
        ]
        text = "; ".join(
            f"{name} {pair[0]:.3f} / {pair[1]:.3f}"
            for name, pair in zip((methods[best].title, "ridge"), values, strict=True)
        )
        text += f"; Pearson {shown(scores.difference(task, best, 'ridge'))}"
        is_met = all(mine > theirs for mine, theirs in zip(*values, strict=True))
        rows.append(
            (
                f"{scores.catalogue.tasks[task].title}: Pearson / median Pearson within a drug, above ridge",
                text,
                MET[is_met],
            )
        )
    return rows


def score_rows(scores: Scores) -> pd.DataFrame:
    """Return mean and interval of every method on every task: the headline metric, and within a drug."""
    rows = []
    for task, runs in scores.catalogue.runs.items():
        row = scores.catalogue.tasks[task]
        for metric in dict.fromkeys([row.headline, *([PER_DRUG] if row.kind == "regression" else [])]):
            for method in runs:
                found = scores.results.summary(task, method, metric)
                values = [
                    task,
                    method,
                    metric,
                    found.n_splits,
                    *(round(x, 4) for x in (found.mean, found.low, found.high)),
                ]
                rows.append(values)
    return pd.DataFrame(rows, columns=["task", "method", "metric", "splits", "value", "low", "high"])


def score_table(table: pd.DataFrame, scores: Scores) -> list[str]:
    """Lay scores out in Markdown, a line a method and a column a task, the best of a column in bold."""
    methods = scores.catalogue.methods.items()
    trivial = {name for name, row in methods if row.role.endswith("control") or row.pretrain_seed is not None}
    lines = []
    for metrics, of_metric in table.groupby(table["metric"] == PER_DRUG, sort=False):
        kinds = [scores.catalogue.tasks[task].kind for task in of_metric["task"]]
        for kind in dict.fromkeys(kinds):
            part = of_metric[[one == kind for one in kinds]]
            part = part[~part["method"].isin(trivial)]
            wide = part.pivot(index="method", columns="task", values="value")
            best = wide.max()
            wide = wide.reindex(index=list(dict.fromkeys(part["method"])), columns=list(dict.fromkeys(part["task"])))
            names = {(row.task, row.method): row for row in part.itertuples()}
            head = [PER_DRUG if metrics else scores.catalogue.tasks[part["task"].iloc[0]].headline, *wide.columns]
            lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
            for method in wide.index:
                cells = [scores.catalogue.methods[method].title]
                for task in wide.columns:
                    one = names.get((task, method))
                    text = "" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
                    cells.append(f"**{text}**" if one is not None and one.value == best[task] else text)
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def seed_table(scores: Scores) -> list[str]:
    """Lay out the means of methods with several pretraining seeds, and how much these differ."""
    lines = ["| task | method | by pretraining seed | SD |", "|---|---|---|--:|"]
    for task, runs in scores.catalogue.runs.items():
        headline = scores.catalogue.tasks[task].headline
        for method in runs:
            means = [scores.results.mean(task, name, headline) for name in scores.seeds_of(task, method)]
            if len(means) > 1:
                values = ", ".join(f"{value:.3f}" for value in means)
                title = scores.catalogue.methods[method].title
                lines.append(f"| {task} | {title} | {values} | {np.std(means, ddof=1):.3f} |")
    return lines


def cost_table(benchmarks: Path) -> list[str]:
    """Lay out what each rule took: jobs, CPU minutes and peak memory, as Snakemake measured them."""
    files = sorted(benchmarks.rglob("*.tsv"))
    frames = [pd.read_csv(path, sep="\t").assign(rule=path.relative_to(benchmarks).parts[0]) for path in files]
    costs = pd.concat(frames, ignore_index=True)
    numbers = costs[["s", "cpu_time", "max_rss"]].apply(pd.to_numeric, errors="coerce")
    found = numbers.assign(rule=costs["rule"]).groupby("rule", sort=False)
    lines = ["", "| rule | jobs | wall clock, min | CPU, min | peak, MB |", "|---|--:|--:|--:|--:|"]
    for rule, part in sorted(found, key=lambda one: -one[1]["cpu_time"].sum()):
        wall, cpu = part["s"].sum() / 60, part["cpu_time"].sum() / 60
        if cpu >= 0.5:
            lines.append(f"| `{rule}` | {len(part)} | {wall:.1f} | {cpu:.1f} | {part['max_rss'].max():,.0f} |")
    wall, cpu = numbers["s"].sum() / 60, numbers["cpu_time"].sum() / 60
    return [*lines, f"| all | {len(numbers)} | {wall:.1f} | {cpu:.1f} | {numbers['max_rss'].max():,.0f} |"]


def compare_table(table: pd.DataFrame) -> list[str]:
    """Lay out `perf/compare.py`'s table, a pair and tool a line."""
    lines = [
        "| reference -> query | tool | macro-F1 | from celllm | CPU, s | peak, MB | lines |",
        "|---" * 4 + "|--:" * 3 + "|",
    ]
    for row in table.itertuples():
        difference = (
            ""
            if row.tool == "celllm"
            else f"{row.from_celllm:+.3f} [{row.from_celllm_low:+.3f}, {row.from_celllm_high:+.3f}]"
        )
        tool = f"celllm ({row.way})" if row.tool == "celllm" else row.tool
        found = f"{row.macro_f1:.3f} [{row.low:.3f}, {row.high:.3f}]"
        lines.append(
            f"| {row.pair} ({row.n_query}) | {tool} | {found} | {difference}"
            f" | {row.cpu_s:.0f} | {row.peak_mb:,.0f} | {row.lines} |"
        )
    return lines


def rival_table(table: pd.DataFrame) -> list[str]:
    """Lay out `perf/compare.py --run`'s table, a tool a line and a task a column, and the CPU seconds of a fit."""
    tasks = list(dict.fromkeys(table["task"]))
    lines = [f"| tool | splits | {' | '.join(tasks)} | CPU, s |", "|---" * (len(tasks) + 2) + "|--:|"]
    for tool, part in table.groupby("tool", sort=False):
        of_task = {row.task: f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in part.itertuples()}
        scores = " | ".join(of_task.get(task, "") for task in tasks)
        lines.append(f"| {tool} | {part['splits'].max()} | {scores} | {part['cpu_s'].mean():.0f} |")
    return lines


def scib_table(table: pd.DataFrame) -> list[str]:
    """Lay out `perf/scib.py`'s table as it is."""
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return [f"| {' | '.join(map(str, row))} |" for row in rows]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, with results/ and benchmarks/")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder to write to")
    parser.add_argument("--date", required=True)
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--commit", required=True)
    args = parser.parse_args()
    bench = args.run / "results/bench"
    catalogue = catalogues.read(bench / "catalogue.json")
    influences = read_influences(sorted(bench.glob("*/*/runs.json")), catalogue)
    scores = Scores(read(bench / "scores.tsv"), catalogue, influences)
    table = score_rows(scores)
    table.to_csv(args.docs / "results/real.tsv", sep="\t", index=False)
    seen = f"Seen on {args.date}, {args.hardware}, commit {args.commit}."
    lines = [seen, "", "| bar | found | |", "|---|---|---|"]
    lines += [f"| {bar} | {found} | {verdict} |" for bar, found, verdict in bars(scores)]
    blocks = {"bars": lines, "scores": score_table(table, scores), "seeds": seed_table(scores)}
    blocks |= {"costs": cost_table(args.run / "benchmarks")}
    for name, layout in {"compare": compare_table, "rivals": rival_table, "scib": scib_table}.items():
        if (path := args.docs / f"results/{name}.tsv").exists():
            blocks[name] = layout(pd.read_csv(path, sep="\t"))
    page = args.docs / "results.md"
    text = page.read_text()
    for name, block in blocks.items():
        start, end = f"<!-- {name}: written by perf/results.py -->", f"<!-- end of {name} -->"
        before, after = text.split(start)[0], text.split(end)[1]
        text = "\n\n".join([before + start, "\n".join(block).strip(), end + after])
    page.write_text(text)


if __name__ == "__main__":
    main()
