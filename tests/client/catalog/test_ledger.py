"""The ledger: whole after a power cut, a full disk, and a second writer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from packshot import InvalidArgument, PackshotError
from packshot.catalog.ledger import Ledger, records
from packshot.catalog.state import State


def record(sku: str = "A", kind: str = "item", **fields) -> dict:
    return {"kind": kind, "sku": sku, "key": "k", "status": "delivered", "pictures": [], **fields}


def skus(folder) -> list[str]:
    return [each["sku"] for _, _, each in records(folder)]


def test_what_was_appended_is_read_in_its_order_and_found_at_its_place(tmp_path):
    with Ledger(tmp_path) as ledger:
        places = [ledger.append(record(sku)) for sku in ("A", "Bär\n☕", "C")]
    found = list(records(tmp_path))
    assert [each["sku"] for _, _, each in found] == ["A", "Bär\n☕", "C"]
    assert [offset for _, offset, _ in found] == places
    with ledger.path.open("rb") as file:
        file.seek(places[1])
        assert json.loads(file.readline()) == record("Bär\n☕")


@pytest.mark.parametrize("torn", [b'{"kind": "item", "sku": "B"', b"{", b"\0" * 5000, b"x" * 20_000])
def test_a_line_that_a_power_cut_tore_is_cut_off_and_the_next_stands_alone(tmp_path, torn):
    with Ledger(tmp_path) as ledger:
        ledger.append(record("A"))
    with ledger.path.open("ab") as file:
        file.write(torn)
    assert skus(tmp_path) == ["A"]
    with Ledger(tmp_path) as ledger:
        ledger.append(record("C"))
    assert skus(tmp_path) == ["A", "C"]


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_ledger_without_a_whole_line_is_an_empty_one(tmp_path, content):
    (tmp_path / "ledger.jsonl").write_bytes(content)
    with Ledger(tmp_path):
        assert skus(tmp_path) == []
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    with Ledger(tmp_path), pytest.raises(PackshotError, match=r"ledger.jsonl: another run is at work on it"):
        Ledger(tmp_path)
    Ledger(tmp_path).__exit__(None, None, None)


def test_shards_work_beside_each_other_but_not_beside_a_run_of_everything(tmp_path):
    with Ledger(tmp_path, "0-of-2") as first, Ledger(tmp_path, "1-of-2") as second:
        first.append(record("A"))
        second.append(record("B"))
        with pytest.raises(PackshotError, match="another run"):
            Ledger(tmp_path, "1-of-2")
        with pytest.raises(PackshotError, match="another run"):
            Ledger(tmp_path)
        with pytest.raises(PackshotError, match=r"ledger-0-of-2\.jsonl: another run"):
            Ledger(tmp_path, "0-of-3")
        assert skus(tmp_path) == ["A", "B"]
    Ledger(tmp_path, "0-of-3").__exit__(None, None, None)
    with Ledger(tmp_path), pytest.raises(PackshotError, match="another run"):
        Ledger(tmp_path, "0-of-2")


def test_a_full_disk_leaves_a_whole_ledger(tmp_path):
    code = f"""
import pathlib, resource
from packshot.catalog.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
with Ledger(pathlib.Path({str(tmp_path)!r})) as ledger:
    for number in range(10):
        try:
            ledger.append({{"kind": "item", "sku": f"sku{{number}}", "key": "k"}})
        except OSError as error:
            print(number, error)
            break
    print(ledger.path.read_bytes()[-1:])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    written = int(first.split()[0])
    assert 0 < written < 9
    assert last == r"b'\n'"
    assert skus(tmp_path) == [f"sku{number}" for number in range(written)]


@pytest.mark.parametrize(
    "foreign", ["no json", "[]", "{}", '{"sku": "A"}', '{"kind": "item", "sku": "A"}', ""]
)
def test_a_foreign_line_is_an_error_that_names_it(tmp_path, foreign):
    good = json.dumps(record())
    (tmp_path / "ledger.jsonl").write_text(f"{good}\n{foreign}\n{good}\n")
    with pytest.raises(
        InvalidArgument, match=r"ledger\.jsonl, line 2: got something else, expected a record of ours"
    ):
        skus(tmp_path)


def test_a_copy_that_somebody_made_is_no_ledger(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(record("A"))
    (tmp_path / "ledger-copy.jsonl").write_bytes(ledger.path.read_bytes())
    (tmp_path / "ledger 2.jsonl").write_text("no json\n")
    assert skus(tmp_path) == ["A"]


def test_the_state_is_an_items_last_record_whichever_ledger_it_is_in(tmp_path):
    with Ledger(tmp_path) as whole:
        whole.append(record(at=1.0, key="old"))
        whole.append(record(at=2.0, key="of the first run"))
        whole.append(record("B", at=2.5))
    with Ledger(tmp_path, "0-of-2") as shard:
        shard.append(record(at=3.0, key="of a shard", status="rejected"))
    state = State(tmp_path)
    assert state.last("A") == record(at=3.0, key="of a shard", status="rejected")
    assert state.last("nobody") is None
    assert state.counts() == {"delivered": 1, "rejected": 1}
    assert sorted(each["sku"] for each in state) == ["A", "B"]


def test_a_clock_that_was_put_back_does_not_bring_an_old_record_back(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(record(at=9.0, key="old"))
        ledger.append(record(at=1.0, key="new"))
    last = State(tmp_path).last("A")
    assert last is not None
    assert last["key"] == "new"


def test_pictures_are_remembered_until_their_item_is_settled(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(record(kind="picture", key="1"))
        assert set(State(tmp_path).pictures("A")) == {"1"}
        ledger.append({"kind": "error", "sku": "A", "key": "k", "code": "UNAVAILABLE"})
        assert set(State(tmp_path).pictures("A")) == {"1"}
        ledger.append(record())
        assert State(tmp_path).pictures("A") == {}
