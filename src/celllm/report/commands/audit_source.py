"""Ask frozen views of corpus cells for their data set, beside tumour or normal: `audit_source`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from celllm.base import report_table
from celllm.base.entry import run
from celllm.base.errors import VocabularyMismatch
from celllm.bench.components import chosen_cells
from celllm.bench.methods.frozen import views
from celllm.bench.methods.probe import halves
from celllm.bench.source import CorpusCells, answers, taught_by_rules
from celllm.config import tables
from celllm.corpus.reader import ShardReader
from celllm.model.store import load_encoder
from celllm.pretrain import history
from celllm.report.source import head_rows, label_rule_table, labels_table, source_table
from celllm.sources.readers.cells import MALIGNANCY


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm audit_source", description=__doc__, allow_abbrev=False)
    options.add_argument("--shards", required=True, type=Path, help="results/shards/manifest.json")
    options.add_argument("--encoder", required=True, type=Path, help="encoder.safetensors")
    options.add_argument("--history", required=True, type=Path, help="history.jsonl of its pretraining")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv")
    options.add_argument("--malignancy-rule", required=True, help="the rule behind the labels of the shards")
    options.add_argument("--most-cells", type=int, default=2_000, help="of a data set; more are drawn from at random")
    options.add_argument("--test-share", type=float, default=0.5, help="share of the cells that no probe is taught")
    options.add_argument("--seed", type=int, default=0, help="of the cells drawn and of the weights not pretrained")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="audit_source", help="name and version of the stage")
    options.add_argument("--tables", required=True, type=Path, help="folder the tables are written to")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read shards and encoder, embed, probe, write."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    corpus = ShardReader(args.shards)
    pretrained = load_encoder(args.encoder, vocabulary=None)
    if pretrained.vocabulary != corpus.vocabulary:
        raise VocabularyMismatch(
            file=args.encoder,
            found=pretrained.vocabulary,
            expected=corpus.vocabulary,
            remedy="pretrain again on these shards: remove the file, then snakemake --forcerun pretrain",
        )
    described = tables.read_datasets(args.datasets)
    by_source = {name: MALIGNANCY[described.row(name).source_malignancy] for name in corpus.datasets}
    of_dataset = [np.flatnonzero(corpus.dataset == name) for name in corpus.datasets]
    drawn = np.concatenate([rows[chosen_cells(len(rows), seed=args.seed, most=args.most_cells)] for rows in of_dataset])
    dataset = np.asarray(corpus.dataset[drawn], dtype=str)
    cells = CorpusCells(
        views=views(
            pretrained,
            corpus.rows(drawn),
            units="counts",
            seed=args.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
        ),
        dataset=dataset,
        is_malignant=corpus.is_malignant[drawn],
        by_source=np.array([by_source[name] for name in dataset], dtype=np.int8),
    )
    strata = np.array([f"{name} {label}" for name, label in zip(dataset, cells.is_malignant, strict=True)])
    train, test = halves(strata, test_share=args.test_share, seed=args.seed)
    heads = head_rows(history.read(args.history), pretrained.recipe)
    made = [
        source_table(list(answers(cells, train=train, test=test)), heads),
        label_rule_table(list(taught_by_rules(cells, train=train, test=test)), malignancy_rule=args.malignancy_rule),
        labels_table(
            corpus.dataset,
            corpus.is_malignant,
            by_source=by_source,
            titles={row.dataset: row.title for row in described},
        ),
    ]
    for table in made:
        report_table.write(table, args.tables)


if __name__ == "__main__":
    run(main)
