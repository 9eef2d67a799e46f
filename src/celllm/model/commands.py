"""The command that makes an encoder file of a published checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from celllm.base.app import Stage, commands

app = commands()


@app.command(name="import")
def import_encoder(
    *,
    layout: Literal["celllm", "scbert"],
    checkpoint: Path,
    genes: Path,
    out: Path,
    hgnc: Path | None = None,
    max_length: int = 6000,
    vocabulary: Path | None = None,
    stage: Stage = "import",
) -> None:
    r"""Turn a published checkpoint, CellLM's or scBERT's, into an encoder file.

    Parameters
    ----------
    layout
        whose checkpoint it is
    checkpoint
        what the authors' torch.save wrote; nothing in it is run
    genes
        genes in the checkpoint's order: one symbol a line, or a genes.tsv
    out
        file to write encoder.safetensors to
    hgnc
        manifest of HGNC's gene annotation: gives a list its ids, without which no cell is aligned on it
    max_length
        longest cell in tokens, CLS included; layout celllm alone
    vocabulary
        file to write the genes to as genes.tsv, for other commands

    Example::

        python -m celllm import --layout celllm --checkpoint cellLM.pth --genes genes.txt \
            --hgnc resources/raw/hgnc_2023/manifest.json --out encoder.safetensors --vocabulary genes.tsv
    """
    from celllm.base.provenance import stamp
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.harmonise.symbols import identified
    from celllm.model import imported
    from celllm.model.store import save_encoder
    from celllm.sources import hgnc as hgnc_file
    from celllm.sources import raw

    listed = vocabulary_file.read_list(genes)
    inputs = {"checkpoint": checkpoint, "genes": genes}
    if hgnc is not None:
        inputs["hgnc"] = raw.read(hgnc).only().path
        listed = identified(listed, hgnc_file.read(inputs["hgnc"]))
    found = imported.import_encoder(checkpoint, layout=layout, n_genes=listed.n_genes, max_length=max_length)
    provenance = stamp(stage, inputs, layout=layout)
    save_encoder(out, found.encoder, recipe=found.recipe, vocabulary=listed.digest, panel=found.panel, stamp=provenance)
    if vocabulary is not None:
        vocabulary_file.write(listed, vocabulary)
    n_parameters = sum(parameter.numel() for parameter in found.encoder.parameters())
    n_in_genes = found.encoder.embedding.genes.weight.numel()
    n_identified = int((listed.genes["hgnc_id"] != "").sum())
    print(
        f"{layout}: {n_parameters:,} parameters, {n_in_genes:,} of them the embedding of {listed.n_genes:,} genes, "
        f"{n_identified:,} with an HGNC id"
    )
