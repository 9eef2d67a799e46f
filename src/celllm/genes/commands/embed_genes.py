"""Embed the genes of the vocabulary from their network or from gene2vec, as a recipe says."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import recipe
from celllm.config.recipe import Recipe
from celllm.genes import edges, gene2vec
from celllm.genes import gene_embedding as gene_table
from celllm.genes.gene_embedding import GeneTable
from celllm.genes.methods import MadeTable, make_gene_table, table_of_vectors
from celllm.harmonise import vocabulary
from celllm.harmonise.symbols import SymbolIndex, map_names, one_name_a_gene
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.randomness import Purpose, torch_generator
from celllm.sources import hgnc, raw


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm embed_genes", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, help="recipe: method, width and training of the table")
    options.add_argument("--network", required=True, type=Path, help="edges.parquet")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--gene2vec", type=Path, help="manifest of gene vectors, for genes.method gene2vec alone")
    options.add_argument("--hgnc", type=Path, help="manifest of the gene table by which their names are mapped")
    options.add_argument("--seed", required=True, type=int, help="of features, initial weights, masks and noise")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="embed_genes", help="name and version of the stage")
    options.add_argument("--table", required=True, type=Path, help="where to write the table")
    return options


def from_network(chosen: Recipe, genes: Vocabulary, network: Path, generator: torch.Generator) -> MadeTable:
    """Make the table from the edges, or from nothing but noise."""
    found = edges.read(network, vocabulary=genes)
    try:
        return make_gene_table(
            found.a_E,
            found.b_E,
            n_genes=genes.n_genes,
            width=chosen.encoder.width,
            settings=chosen.genes,
            generator=generator,
        )
    except ValueError as error:
        raise InputError(
            file=network,
            field="a, b",
            expected=f"a network of more than {chosen.encoder.width} genes",
            found=str(error),
            remedy="choose a smaller encoder.width or genes.method random in the recipe",
        ) from error


def from_gene2vec(args: argparse.Namespace, chosen: Recipe, genes: Vocabulary, generator: torch.Generator) -> MadeTable:
    """Map the names of published vectors to the vocabulary; of several names of a gene one gives the vector."""
    if args.gene2vec is None or args.hgnc is None:
        raise InputError(
            file=args.recipe,
            field="genes.method",
            expected="the options --gene2vec and --hgnc, which gene2vec needs",
            found="only one of them" if args.gene2vec or args.hgnc else "neither",
            remedy="name the data set of the vectors as gene2vec in the config, or choose genes.method svd",
        )
    file = raw.read(args.gene2vec).only().path
    names, vectors_ND = gene2vec.read(file)
    if vectors_ND.shape[1] != chosen.encoder.width:
        raise InputError(
            file=args.recipe,
            field="encoder.width",
            expected=f"{vectors_ND.shape[1]}, the numbers of a gene in {file.name}",
            found=str(chosen.encoder.width),
            remedy="set encoder.width to that, or choose another genes.method",
        )
    mapping = map_names(names, SymbolIndex(hgnc.read(raw.read(args.hgnc).only().path)), genes)
    places = one_name_a_gene(mapping)
    if len(places) < 2:
        raise InputError(
            file=file,
            field="names",
            expected="two genes of the vocabulary at least",
            found=f"{len(places)} of {len(names)} names",
            remedy="check the file, and the HGNC table given as --hgnc",
        )
    return table_of_vectors(vectors_ND[places], mapping.index_N[places], n_genes=genes.n_genes, generator=generator)


def main(argv: Sequence[str] | None = None) -> None:
    """Read recipe and network or vectors, make the table, write it."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    chosen = recipe.of_option([args.recipe])
    method = chosen.genes.method
    if method == "imported":
        raise InputError(
            file=args.recipe,
            field="genes.method",
            expected="graphmae, svd, gene2vec, random or learned",
            found="imported: such a table came with a published checkpoint and is made nowhere else",
            remedy="choose one of the methods that make a table",
        )
    genes = vocabulary.read(args.vocabulary)
    inputs = {"network": args.network, "vocabulary": args.vocabulary}
    generator = torch_generator(args.seed, 0, Purpose.GENE_TABLE)
    started = time.perf_counter()
    if method == "gene2vec":
        made = from_gene2vec(args, chosen, genes, generator)
        inputs |= {"gene2vec": args.gene2vec, "hgnc": args.hgnc}
        missing = f"{made.report['genes_without_vector']} without a vector"
    else:
        made = from_network(chosen, genes, args.network, generator)
        missing = f"{made.report['genes_without_edges']} without an edge"
    table = GeneTable(
        genes_GD=made.genes_GD,
        vocabulary=genes.digest,
        method=method,
        report=made.report,
        provenance=stamp(args.stage, inputs, recipe=chosen.digest, seed=args.seed),
    )
    gene_table.write(table, args.table)
    losses = made.report["losses"]
    course = f"; loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} epochs" if losses else ""
    print(f"{genes.n_genes} genes by {method}, {missing}{course}; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    run(main)
