"""Look-ups of the fetch stage: tables of its own, and lists of samples; no rules.

Reads: config/datasets.tsv, by way of common.smk
"""

HOSTS_TABLE = str(CONFIG / "hosts.tsv")
CHECKSUMS_TABLE = str(CONFIG / "checksums.tsv")
EXCLUDED_STUDIES = " ".join(quote(study) for study in config.get("exclude_studies", []))


def sample_list(wildcards) -> list[str]:
    """Manifest of the list of samples, where a data set's files are listed in one."""
    samples = DATASETS[wildcards.dataset].samples
    return [] if samples is None else [f"resources/raw/{samples}/manifest.json"]


def samples_option(_wildcards, input) -> str:
    """`--samples FILE`, and the studies to leave out, where there is such a list."""
    if not input.samples:
        return ""
    excluded = f" --exclude-studies {EXCLUDED_STUDIES}" if EXCLUDED_STUDIES else ""
    return f"--samples {quote(str(input.samples))}{excluded}"
