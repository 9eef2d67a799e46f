"""Each host is asked as it wants to be, and with no more connections at once than its row allows."""

import itertools
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from celllm.base.errors import InputError
from celllm.sources import hosts
from celllm.sources.download import download
from celllm.sources.hosts import Host, connection

HEADER = "host\tuser_agent\tconnections\tpause_s\tnote\n"


def slow(handler):
    time.sleep(0.05)
    handler.file()


def test_the_longest_name_that_fits_is_the_hosts_row(tmp_path):
    path = tmp_path / "hosts.tsv"
    path.write_text(f"{HEADER}*\t-\t4\t0\t-\nnih.gov\t-\t3\t0\t-\nftp.nih.gov\tme\t1\t2.5\twhy\n")
    table = hosts.read(path)
    rows = {
        name: hosts.row_for(f"https://{name}/x", table).host
        for name in ("ftp.nih.gov", "www.nih.gov", "nih.gov", "xnih.gov")
    }
    assert rows == {"ftp.nih.gov": "ftp.nih.gov", "www.nih.gov": "nih.gov", "nih.gov": "nih.gov", "xnih.gov": "*"}
    assert hosts.row_for("https://ftp.nih.gov", table) == Host("ftp.nih.gov", "me", 1, 2.5, "why")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("a\t-\t4\t0\t-", r"a row \*", id="no row for the others"),
        pytest.param("*\t-\t0\t0\t-", "greater than or equal to 1", id="no connections"),
        pytest.param("*\t-\t1\t-2\t-", "greater than or equal to 0", id="pause"),
    ],
)
def test_a_table_that_cannot_be_kept_to_is_refused(tmp_path, row, message):
    path = tmp_path / "hosts.tsv"
    path.write_text(f"{HEADER}{row}\n")
    with pytest.raises(InputError, match=message):
        hosts.read(path)


def test_the_checkouts_own_table_is_kind_to_panglaodb(root):
    row = hosts.row_for("https://panglaodb.se/data_dl.php", hosts.read(root / "config/hosts.tsv"))
    assert (row.connections, row.pause_s) == (2, 2.0)
    assert row.user_agent.startswith("Mozilla/5.0")


def test_a_host_is_never_asked_with_more_connections_than_its_row_allows(server, manners, tmp_path):
    address = server.at("/a", slow)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda name: download([address], tmp_path / name, expected=[], manners=manners),
                [f"{number}.bin" for number in range(8)],
            )
        )
    assert len(server.requests) == 8
    assert server.most_at_once == 2


def test_the_limit_holds_for_processes_together(server, manners, tmp_path, hosts_table, root):
    address = server.at("/a", slow)
    code = textwrap.dedent("""
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from celllm.sources import hosts
        from celllm.sources.download import Manners, download
        address, table, locks, folder = sys.argv[1:]
        manners = Manners(hosts=hosts.read(table), locks=Path(locks))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: download([address], Path(folder, str(n)), expected=[], manners=manners), range(5)))
    """)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, hosts_table, manners.locks, tmp_path / name],
            env={"PYTHONPATH": str(root / "src"), "NO_PROXY": "127.0.0.1", "PATH": "/usr/bin:/bin"},
        )
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert len(server.requests) == 10
    assert server.most_at_once == 2


def test_requests_to_a_host_are_a_pause_apart(tmp_path):
    host = Host("a.org", None, 4, 0.1, None)

    def ask(_):
        with connection("https://a.org/x", host, tmp_path):
            return time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        times = sorted(pool.map(ask, range(4)))
    assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise(times))


def test_hosts_without_a_row_do_not_wait_for_each_other(tmp_path):
    host = Host("*", None, 1, 0.0, None)
    with connection("https://a.org/x", host, tmp_path), connection("https://b.org/x", host, tmp_path):
        assert sorted(path.name for path in tmp_path.glob("*.lock")) == ["a.org.0.lock", "b.org.0.lock"]
