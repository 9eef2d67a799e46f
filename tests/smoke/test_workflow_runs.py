"""The whole chain, small: it ends with a report, and a run that was killed ends with the same tables.

Each stage's own tests say that it does the right thing; these say that the stages fit together.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.xdist_group("smoke")  # one worker: its fixture is dear

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests/smoke/config.yaml"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
        *("--cores", "2", "--configfile", str(CONFIG), *arguments),
    ]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *arguments),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


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
        time.sleep(0.3)  # into the rule, not only to its door
        assert process.poll() is None, f"the workflow ended before {rule} had begun"
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    done = snakemake(folder)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


@pytest.mark.slow
def test_the_chain_ends_with_tables_figures_and_one_page(straight):
    main = pd.read_csv(straight / "results/report/tables/main.tsv", sep="\t")
    assert set(main["task"]) == {"annotation_pbmc68k", "cell_line_simulated_cold"}
    assert {"celllm", "logistic", "celllm_response", "ridge"} <= set(main["method"])
    assert list((straight / "results/report/figures").rglob("*.png"))
    done = snakemake(straight, "--report", "report.html")
    assert done.returncode == 0, done.stderr[-5000:]
    assert (straight / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_nothing_is_left_to_do_after_a_whole_run(straight):
    done = snakemake(straight, "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.slow
def test_no_test_cell_of_any_seed_is_in_the_shards(straight):
    corpus = pd.concat(pd.read_parquet(path) for path in (straight / "results/shards").glob("*.cells.parquet"))
    tested = pd.concat(
        split[split["part"] == "test"]
        for path in (straight / "results/splits/annotation_pbmc68k").glob("*.parquet")
        for split in [pd.read_parquet(path)]
    )
    assert len(tested) > 100
    assert not set(corpus["cell_id"]) & set(tested["unit"])


@pytest.mark.slow
def test_model_seeds_are_those_of_the_method_and_the_task(straight):
    scores = pd.read_csv(straight / "results/bench/scores.tsv", sep="\t")
    seeds = {cell: sorted(group.unique()) for cell, group in scores.groupby(["task", "method"])["seed"]}
    assert seeds["annotation_pbmc68k", "celllm"] == [0, 1]
    assert seeds["annotation_pbmc68k", "logistic"] == [0]  # it has no random numbers
    assert seeds["cell_line_simulated_cold", "celllm_response"] == [0]  # one_model_seed_on


@pytest.mark.slow
def test_everything_simulated_says_so(straight):
    main = pd.read_csv(straight / "results/report/tables/main.tsv", sep="\t")
    is_simulated = main["dataset"].str.contains("imulated")
    assert list(is_simulated) == list(main["task"].str.contains("simulated"))
    lines = (straight / "results/report/tables/main.md").read_text().splitlines()
    assert all("imulated" in line for line in lines if "cell lines and drug" in line)


@pytest.mark.slow
def test_a_run_killed_as_each_rule_begins_and_started_again_ends_with_the_same_tables(straight, tmp_path):
    rules = {path.name for path in (straight / "logs").iterdir()}
    assert {"fetch", "pretrain", "fit", "tabulate"} <= rules
    unmet = sorted(rules, key=lambda rule: (straight / "logs" / rule).stat().st_ctime)
    for rule in unmet[:-1]:
        if not (tmp_path / "logs" / rule).exists():
            kill_at(tmp_path, rule)
    done = snakemake(tmp_path, "--nolock")
    assert done.returncode == 0, done.stderr[-5000:]
    for name in (
        "results/report/tables/main.tsv",
        "results/report/tables/harmonisation.tsv",
        "results/report/claims.tsv",
    ):
        assert (tmp_path / name).read_text() == (straight / name).read_text()


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_report(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder, symlinks=True)
    job = "annotation_pbmc68k/logistic"
    runs = folder / f"results/bench/{job}/runs.json"
    runs.unlink()
    split = folder / "results/splits/annotation_pbmc68k/split1.parquet"
    times = (split.stat().st_atime_ns, split.stat().st_mtime_ns)
    split.write_bytes(b"no split")
    os.utime(split, ns=times)

    done = snakemake(folder, "--config", "on_failure=show", "--rerun-triggers", "mtime", "--forcerun", "score")

    assert done.returncode == 0, done.stderr[-5000:]
    (failed,) = pd.read_csv(folder / "results/report/tables/failed.tsv", sep="\t").to_dict("records")
    assert (failed["method"], failed["split"], failed["log"]) == ("logistic", 1, f"logs/fit/{job}.log")
    assert failed["log"] in (folder / "results/report/tables/failed.md").read_text()
    main = pd.read_csv(folder / "results/report/tables/main.tsv", sep="\t").set_index(["task", "method"])
    assert main.loc[("annotation_pbmc68k", "logistic"), ["n_splits", "n_failed"]].tolist() == [1, 1]
    # what cannot stand beside the linear model on every split is withheld; what needs no neighbour is not
    assert main.loc[("annotation_pbmc68k", "celllm"), "value"] == "neighbour missing"
    assert main.loc[("annotation_pbmc68k", "majority"), "n_splits"] == 2


@pytest.mark.slow
def test_a_job_of_the_benchmark_is_run_again_by_the_first_line_of_its_log(straight, tmp_path):
    log = (straight / "logs/fit/annotation_pbmc68k/logistic.log").read_text()
    again = log.splitlines()[0].replace("results/bench/", f"{tmp_path}/").split()
    done = subprocess.run(
        [sys.executable, *again[1:]],
        cwd=straight,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cell = "annotation_pbmc68k/logistic/split1/seed0/predictions.parquet"
    first, second = (pd.read_parquet(folder / cell) for folder in (straight / "results/bench", tmp_path))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
def test_a_missing_file_of_the_mirror_is_named_before_anything_is_computed(tmp_path):
    (tmp_path / "mirror").mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)),
            *("--cores", "2", "--configfile", str(ROOT / "config/real.yaml"), "--config", "mirror=mirror"),
            *("--until", "build_vocabulary", "--workflow-profile", "none"),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    log = (tmp_path / "logs/fetch/hgnc_2024.log").read_text()
    assert "hgnc_complete_set_2024-10.txt.gz" in log
    assert "mirror" in log
    assert not (tmp_path / "resources/raw/hgnc_2024/manifest.json").exists()


@pytest.mark.slow
def test_a_misspelt_key_stops_the_workflow_with_its_file_and_the_nearest_key(tmp_path):
    done = snakemake(tmp_path, "--dry-run", "--config", "model_seedz=1")
    assert done.returncode != 0
    assert "did you mean model_seeds?" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_data_set_whose_lines_are_tested_stays_out_of_the_corpus(tmp_path):
    done = snakemake(tmp_path, "--dry-run", "--config", "corpus=[pbmc68k_reduced, simulated_cell_lines]")
    assert done.returncode != 0
    assert "take simulated_cell_lines out of corpus" in done.stdout + done.stderr


@pytest.mark.slow
def test_an_encoder_whose_number_will_be_withheld_is_named_before_anything_is_computed(tmp_path):
    done = snakemake(tmp_path, "--dry-run", "--config", "methods=[celllm, logistic]")
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert "celllm on annotation_pbmc68k: its number will not be shown, since celllm_scratch is not run there" in said
    shipped = snakemake(tmp_path, "--dry-run")
    assert "will not be shown" not in shipped.stdout + shipped.stderr


@pytest.mark.slow
def test_a_recipe_with_gene2vec_gets_its_vectors_and_stops_the_workflow_where_none_are_named(tmp_path):
    recipes = "recipes={celllm: scbert_paper}"
    done = snakemake(tmp_path, "--dry-run", "--config", recipes)
    assert done.returncode != 0
    assert "which recipe scbert_paper asks for" in done.stdout + done.stderr
    done = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--config", recipes, "gene2vec=gene2vec_200")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "--gene2vec resources/raw/gene2vec_200/manifest.json --hgnc resources/raw/hgnc_demo/" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.yaml", "config/paper.yaml"])
def test_a_shipped_configuration_dry_runs_to_the_report(tmp_path, name):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)),
            *("--dry-run", "--cores", "2", "--configfile", str(ROOT / name)),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "tabulate" in done.stdout


@pytest.mark.slow
def test_provenance_of_the_encoder_names_its_inputs(straight):
    from safetensors import safe_open

    path = next((straight / "results/pretrain").rglob("encoder.safetensors"))
    with safe_open(path, framework="np") as file:
        text = json.dumps(file.metadata())
    for word in ("commit", "stage", "pretrain-", "shards", "recipe"):
        assert word in text
