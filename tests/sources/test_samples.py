"""Lists of samples give names, template fields and facts, and refuse what would be misread."""

import gzip
from collections import Counter

import pytest

from celllm.base.errors import InputError
from celllm.config.tables import SourceFile
from celllm.sources import samples
from celllm.sources.samples import Sample

PANGLAO = '"SRA1","SRS1","Lung","10x chromium","Homo sapiens","NextSeq 500","200","1249","12","{}","1","{}"'


@pytest.fixture
def read(tmp_path):
    """Read a text as a list."""

    def read(reader, text):
        path = tmp_path / "list.txt"
        path.write_text(text, encoding="utf-8")
        return samples.read(path, reader, dataset="d")

    return read


def panglao(tumour="0", cell_line="0"):
    line = PANGLAO.format(tumour, cell_line)
    return line.replace(r'"\N"', r"\N")


@pytest.mark.parametrize(
    ("tumour", "cell_line", "malignancy", "note"),
    [
        pytest.param("0", "0", "normal", None, id="normal"),
        pytest.param("1", "0", "tumour", None, id="tumour"),
        pytest.param("0", "1", "unknown", None, id="cell line"),
        pytest.param("1", "1", "unknown", None, id="tumour cell line"),
        pytest.param(r"\N", "1", "unknown", None, id="cell line, tumour unknown"),
        pytest.param(r"\N", "0", "normal", "flag unknown", id="tumour unknown"),
        pytest.param(r"\N", r"\N", "normal", "flag unknown", id="both unknown"),
    ],
)
def test_flags_of_panglaodb_become_malignancy(read, tumour, cell_line, malignancy, note):
    (sample,) = read("panglaodb_metadata", panglao(tumour, cell_line)).samples
    assert (sample.facts["malignancy"], sample.facts.get("note")) == (malignancy, note)


def test_other_species_are_left_out_and_samples_without_accession_skipped_with_a_remark(read):
    lines = [panglao(), panglao().replace("Homo sapiens", "Mus musculus"), panglao().replace("SRS1", "notused")]
    listed = read("panglaodb_metadata", "\n".join(lines))
    facts = {"study": "SRA1", "tissue": "Lung", "protocol": "10x chromium", "malignancy": "normal"}
    assert listed.samples == (Sample("SRA1_SRS1", {"sra": "SRA1", "srs": "SRS1"}, facts),)
    assert "SRA1 (Lung) is skipped: no accession, so no file" in listed.remarks
    assert "2 human of 3 samples, 1 of them with an accession" in listed.remarks


def test_a_panglaodb_table_with_a_new_column_is_refused_by_line(read):
    with pytest.raises(InputError, match=r"(?s)line 2.*expected: +12 columns: sra, .*found: +13 columns"):
        read("panglaodb_metadata", f'{panglao()}\n{panglao()},"new"')


def test_the_published_panglaodb_table_holds_what_the_paper_counts(mirror, read):
    text = gzip.decompress((mirror / "panglaodb_metadata.txt.gz").read_bytes()).decode()
    listed = read("panglaodb_metadata", text)
    assert "305 human of 1369 samples, 299 of them with an accession" in listed.remarks
    assert sum("is skipped" in remark for remark in listed.remarks) == 6
    number = Counter(sample.facts["malignancy"] for sample in listed.samples)
    # Of 33 tumour samples 13 are cell lines and 1 has no accession; 29 are cell lines.
    assert number == {"tumour": 19, "unknown": 29, "normal": 251}
    assert listed.remarks[-2:] == (
        "27 counted as normal without a flag",
        "299 samples; 251 normal, 19 tumour, 29 unknown",
    )
    assert len({sample.facts["study"] for sample in listed.samples}) == 73


CANCERSCEM = "Project ID,Sample ID,Sample Type,Primary site\nP1,P1-01,Tumour,Skin\nP1,P1-02,PBMC,\n"


def test_cancerscem_gives_sample_names_and_takes_blood_as_normal(read):
    listed = read("cancerscem_samples", CANCERSCEM)
    assert listed.samples == (
        Sample(
            "P1-01",
            {"sample": "P1-01"},
            {"study": "P1", "malignancy": "tumour", "sample_type": "Tumour", "tissue": "Skin"},
        ),
        Sample("P1-02", {"sample": "P1-02"}, {"study": "P1", "malignancy": "normal", "sample_type": "PBMC"}),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "Project ID,Sample Type\nP1,Tumour\n", r"column Sample ID.*found: +Project ID, Sample Type", id="column"
        ),
        pytest.param(
            CANCERSCEM.replace("PBMC", "Pbmc"), r"Sample Type \(line 3\).*Tumour, Normal, PBMC.*Pbmc", id="type"
        ),
        pytest.param(CANCERSCEM + "P1,P1-03,Normal\n", r"line 4.*4 columns.*found: +3", id="short line"),
        pytest.param(CANCERSCEM + "P1,P1-01,Normal,Skin\n", r"each sample once.*P1-01, 2 times", id="twice"),
        pytest.param(CANCERSCEM + "P1,../x,Normal,Skin\n", r"letters, digits.*'\.\./x'", id="path"),
        pytest.param("", "an empty file", id="empty"),
        pytest.param(CANCERSCEM.split("\n")[0], "at least one sample", id="no samples"),
    ],
)
def test_a_list_that_would_be_misread_is_refused(read, text, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        read("cancerscem_samples", text)


def test_a_list_of_ones_own_offers_every_column_as_field(read):
    text = "sample\tstudy\tmalignancy\trun\ns1\tA\ttumour\tR1\n"
    (sample,) = read("sample_table", text).samples
    assert sample.fields == {"sample": "s1", "study": "A", "malignancy": "tumour", "run": "R1"}
    assert sample.facts == {"study": "A", "malignancy": "tumour", "run": "R1"}
    with pytest.raises(InputError, match=r"(?s)malignancy \(line 2\).*normal, tumour, unknown.*maybe"):
        read("sample_table", text.replace("tumour", "maybe"))
    with pytest.raises(InputError, match=r"(?s)reader of d.*panglaodb_metadata, .*which read lists"):
        read("robjects", text)


def test_studies_are_left_out_with_a_remark(read):
    listed = samples.without_studies(read("cancerscem_samples", CANCERSCEM + "P2,P2-01,Normal,\n"), ["P1", "P9"])
    assert [sample.name for sample in listed.samples] == ["P2-01"]
    assert listed.remarks[-1] == "study P1 is left out: 2 samples"


def test_a_template_is_filled_in_and_its_address_quoted():
    row = SourceFile("d", "{run}.gz", "https://x/?a={run}", None, None, None)
    sample = Sample("s1", {"run": "a+b"})
    filled = samples.fill(row, sample)
    assert (filled.file, filled.url, filled.sample) == ("a+b.gz", "https://x/?a=a%2Bb", "s1")
    row = SourceFile("d", "{srx}.gz", None, None, None, None)
    with pytest.raises(InputError, match=r"(?s)template of d.*\{sra\}, \{srs\}.*found: +\{srx\} in \{srx\}\.gz"):
        samples.fill(row, Sample("s", {"sra": "1", "srs": "2"}))
