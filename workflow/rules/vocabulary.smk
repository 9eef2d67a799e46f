"""The gene axis: one index a gene, the same in every matrix, shard and embedding table.

Reads:   resources/raw/{gene_table}/manifest.json
Writes:  results/vocabulary/genes.tsv
"""


rule build_vocabulary:
    """Approved genes of one locus group, sorted by symbol."""
    input:
        hgnc=f"resources/raw/{config['gene_table']}/manifest.json",
    output:
        vocabulary="results/vocabulary/genes.tsv",
    log:
        "logs/build_vocabulary/all.log",
    benchmark:
        "benchmarks/build_vocabulary/all.tsv"
    conda:
        "../../envs/singlecell.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGES["build_vocabulary"],
        locus_group=config["locus_group"],
    shell:
        "python -m celllm.cli.build_vocabulary"
        " --hgnc {input.hgnc:q}"
        " --locus-group {params.locus_group:q}"
        " --stage {params.stage}"
        " --out {output.vocabulary:q}"
        " &> {log:q}"
