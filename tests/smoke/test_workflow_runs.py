"""The whole chain, small: it ends with a report, and a run that was killed ends with the same tables.

Each stage's own tests say that it does the right thing; these say that the stages fit together.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests/smoke/config.yaml"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}


def command(folder: Path, *arguments: str, config: Path = CONFIG) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
        *("--cores", "2", "--configfile", str(config), *arguments),
    ]


def snakemake(folder: Path, *arguments: str, config: Path = CONFIG, fails: bool = False) -> str:
    """Run the workflow, which ends well, or must not; return what it said."""
    line = command(folder, *arguments, config=config)
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stderr[-5000:]
    return done.stdout + done.stderr


def kill_at(folder: Path, rule: str) -> None:
    """Start the workflow and kill all its processes, without warning, as soon as a rule has begun."""
    with subprocess.Popen(
        command(folder, "--nolock"),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not (folder / "logs" / rule).exists():
            time.sleep(0.02)
        assert process.poll() is None, f"the workflow ended before {rule} had begun"
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    snakemake(folder)
    return folder


def test_the_chain_ends_with_tables_figures_and_one_page_and_nothing_is_left_to_do(straight):
    main_table = pd.read_csv(straight / "results/report/tables/main.tsv", sep="\t")
    is_simulated = main_table["dataset"].str.contains("imulated")
    assert list(is_simulated) == list(main_table["task"].str.contains("simulated"))
    scores = pd.read_csv(straight / "results/bench/scores.tsv", sep="\t")
    seeds = {run: sorted(group.unique()) for run, group in scores.groupby(["task", "method"])["seed"]}
    assert seeds["annotation_pbmc68k", "celllm"] == [0, 1]
    assert seeds["annotation_pbmc68k", "logistic"] == [0]  # it has no random numbers
    assert set(main_table["task"]) == {"annotation_pbmc68k", "cell_line_simulated_cold"}
    assert {"celllm", "logistic", "celllm_response", "ridge"} <= set(main_table["method"])
    assert list((straight / "results/report/figures").rglob("*.png"))
    snakemake(straight, "--report", "report.html")
    assert (straight / "report.html").stat().st_size > 100_000
    assert "Nothing to be done" in snakemake(straight, "--dry-run")


def test_no_test_cell_of_any_seed_is_in_the_shards(straight):
    corpus = pd.concat(pd.read_parquet(path) for path in (straight / "results/shards").glob("*/*.cells.parquet"))
    tested = pd.concat(
        split[split["subset"] == "test"]
        for path in (straight / "results/splits/annotation_pbmc68k").glob("*.parquet")
        for split in [pd.read_parquet(path)]
    )
    assert len(tested) > 100
    assert not set(corpus["cell_id"]) & set(tested["unit"])


def test_a_run_killed_in_several_stages_and_started_again_ends_with_the_same_tables(straight, tmp_path):
    for rule in ("align_cells", "pretrain", "fit"):
        kill_at(tmp_path, rule)
    snakemake(tmp_path, "--nolock")
    for name in ("tables/main.tsv", "tables/harmonisation.tsv", "tables/claims.tsv"):
        assert (tmp_path / "results/report" / name).read_text() == (straight / "results/report" / name).read_text()


def test_a_run_that_fails_does_not_stop_the_report_and_is_taken_again_alone(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder, symlinks=True)
    job = folder / "results/bench/annotation_pbmc68k/logistic"
    (job / "runs.json").unlink()
    (job / "split1/seed0/predictions.parquet").unlink()
    split = folder / "results/splits/annotation_pbmc68k/split1.parquet"
    whole, times = split.read_bytes(), (split.stat().st_atime_ns, split.stat().st_mtime_ns)
    split.write_bytes(b"no split")
    os.utime(split, ns=times)
    show = ("--config", "on_failure=show", "--rerun-triggers", "mtime")

    said = snakemake(folder, *show, "--forcerun", "score")

    assert "1 runs of methods failed, see results/bench/failures.json" in said
    (failed,) = json.loads((folder / "results/bench/failures.json").read_text())
    assert (failed["method"], failed["split"], failed["log"]) == (
        "logistic",
        1,
        "logs/fit/annotation_pbmc68k/logistic.log",
    )
    main = pd.read_csv(folder / "results/report/tables/main.tsv", sep="\t").set_index(["task", "method"])
    assert main.loc[("annotation_pbmc68k", "logistic"), ["n_splits", "n_failed"]].tolist() == [1, 1]
    # what cannot stand beside the linear model on every split is withheld; what needs no reference baseline is not
    assert not str(main.loc[("annotation_pbmc68k", "celllm"), "value"])[0].isdigit()
    assert main.loc[("annotation_pbmc68k", "majority"), "n_splits"] == 2

    split.write_bytes(whole)
    os.utime(split, ns=times)
    kept = (job / "split0/seed0/predictions.parquet").stat().st_mtime_ns
    (job / "runs.json").unlink()
    snakemake(folder, *show, "--forcerun", "score")
    assert json.loads((folder / "results/bench/failures.json").read_text()) == []
    assert (job / "split0/seed0/predictions.parquet").stat().st_mtime_ns == kept


def test_a_job_is_run_again_by_the_first_line_of_its_log(straight, tmp_path):
    log = (straight / "logs/fit/annotation_pbmc68k/logistic.log").read_text()
    again = shlex.split(log.splitlines()[0].replace("results/bench/", f"{tmp_path}/"))
    done = subprocess.run(
        [sys.executable, *again[1:]],
        cwd=straight,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name = "annotation_pbmc68k/logistic/split1/seed0/predictions.parquet"
    first, second = (pd.read_parquet(folder / name) for folder in (straight / "results/bench", tmp_path))
    pd.testing.assert_frame_equal(first, second)


def test_an_encoder_is_packaged_without_the_benchmark_and_judged_on_cells_outside_the_corpus(straight, tmp_path):
    target = "results/encoders/celllm/encoder.safetensors"
    planned = snakemake(tmp_path, "--dry-run", "--printshellcmds", target, config=ROOT / "config.yaml")
    assert "rule pretrain:" in planned
    assert "rule fit:" not in planned
    assert "--cells results/cells/simulated_drug_cells.h5ad --components" in planned
    snakemake(straight, "--nolock", target)  # without an option before it, a second configuration
    assert "## Corpus" in (straight / "results/encoders/celllm/card.md").read_text()


def test_a_missing_file_of_the_mirror_is_named_before_anything_is_computed(tmp_path):
    (tmp_path / "mirror").mkdir()
    options = ("--config", "mirror=mirror", "--until", "build_vocabulary", "--workflow-profile", "none")
    snakemake(tmp_path, *options, config=ROOT / "config/real.yaml", fails=True)
    log = (tmp_path / "logs/fetch/hgnc_2024.log").read_text()
    assert "hgnc_complete_set_2024-10.txt.gz" in log
    assert "mirror" in log
    assert not (tmp_path / "resources/raw/hgnc_2024/manifest.json").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(["pretrain_sed=1"], "did you mean pretrain_seed?", id="misspelt key"),
        pytest.param(
            ["corpus=[pbmc68k_reduced, simulated_cell_lines]"],
            "take simulated_cell_lines out of corpus",
            id="tested lines in the corpus",
        ),
        pytest.param(
            ["encoders={celllm: [paper, scbert, scbert_paper]}"], "which encoder celllm asks for", id="no gene2vec"
        ),
    ],
)
def test_a_wrong_configuration_stops_the_workflow_and_says_what_to_do(tmp_path, config, message):
    said = snakemake(tmp_path, "--dry-run", "--config", *config, fails=True)
    assert message in said


def test_an_encoder_that_a_run_would_replace_is_named_before_anything_is_computed(tmp_path):
    kept = tmp_path / "results/pretrain/celllm/seed0/encoder.safetensors"
    kept.parent.mkdir(parents=True)
    for file in (kept, kept.with_name("history.jsonl")):
        file.touch()
    said = snakemake(tmp_path, "--until", "pretrain", fails=True)
    assert "celllm/seed0/encoder.safetensors is kept" in said
    assert "add --directory ../other" in said
    assert not (tmp_path / "results/vocabulary").exists()


def test_an_encoder_whose_number_will_be_withheld_is_named_before_anything_is_computed(tmp_path):
    (tmp_path / "runs.tsv").write_text("task\tmethods\nannotation_pbmc68k\tcelllm logistic\n")
    said = snakemake(tmp_path, "--dry-run", "--config", "runs=runs.tsv")
    assert "celllm on annotation_pbmc68k: its number will not be shown, since celllm_scratch is not run there" in said
    assert "will not be shown" not in snakemake(tmp_path, "--dry-run")
    (tmp_path / "runs.tsv").write_text("task\tmethods\nannotation_pbmc68k\tlogistic majority\n")
    said = snakemake(tmp_path, "--dry-run", "bench", "--config", "runs=runs.tsv")
    assert "rule fit:" in said
    assert "rule pretrain:" not in said  # no method starts from an encoder


def test_a_recipe_with_gene2vec_gets_its_vectors(tmp_path):
    config = ("encoders={celllm: [paper, scbert, scbert_paper]}", "gene2vec=gene2vec_200")
    said = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--config", *config)
    assert "--gene2vec resources/raw/gene2vec_200/manifest.json --hgnc resources/raw/hgnc_demo/" in said
