"""Manifests as files: JSONL, CSV and Parquet, read line by line."""

from __future__ import annotations

import pyarrow
import pytest
from pyarrow import Table, parquet

from packshot import InvalidArgument
from packshot.catalog.lines import Line, read_lines


def lines(tmp_path, name: str, content: str | bytes) -> list[Line]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_lines(path))


def values(found: list[Line]) -> list[dict]:
    return [dict(line.values) for line in found]


def test_a_line_of_jsonl_is_an_object_with_its_number_in_the_file(tmp_path):
    found = lines(tmp_path, "m.jsonl", '{"sku": "a"}\n\n  \n{"sku": "b", "n": 1.5}\n')
    assert found == [Line(1, {"sku": "a"}), Line(4, {"sku": "b", "n": 1.5})]


def test_null_is_an_empty_column_and_empty_text_is_not(tmp_path):
    assert values(lines(tmp_path, "m.jsonl", '{"a": null, "b": ""}')) == [{"b": ""}]


def test_the_mark_that_windows_puts_before_a_file_is_no_part_of_it(tmp_path):
    assert values(lines(tmp_path, "m.jsonl", b'\xef\xbb\xbf{"sku": "a"}\n')) == [{"sku": "a"}]
    assert values(lines(tmp_path, "m.csv", b"\xef\xbb\xbfsku,photo\na,b\n")) == [{"sku": "a", "photo": "b"}]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ('{"sku": "a"', "delimiter"),
        ('["a"]', "expected a JSON object"),
        ('"a"', "expected a JSON object"),
        ('{"seed": NaN}', "NaN is not JSON"),
        ('{"fill": -Infinity}', "-Infinity is not JSON"),
        ('{"sku": "a", "sku": "b"}', "'sku' is there twice"),
        (b'{"sku": "\xff"}', "expected a JSON object"),
        ('{"sku": "\\ud800"}', "surrogates not allowed"),
        ("[" * 100_000, "recursion"),
        ('{"seed": ' + "1" * 5000 + "}", "4300"),
        ("{'sku': 'a'}", "expected a JSON object"),
    ],
)
def test_a_broken_line_is_told_and_the_next_is_read(tmp_path, broken, why):
    raw = broken if isinstance(broken, bytes) else broken.encode()
    first, second = lines(tmp_path, "m.jsonl", raw + b'\n{"sku": "b"}\n')
    assert (first.number, first.values) == (1, {})
    assert first.problem is not None
    assert first.problem.startswith("line: got ")
    assert why in first.problem
    assert len(first.problem) < 400
    assert second == Line(2, {"sku": "b"})


def test_cells_of_csv_are_text_but_for_prompts(tmp_path):
    found = lines(tmp_path, "m.csv", 'sku,seed,points,name\n007,5,"[[1,2]]","a ""big"", red\ncup"\n,,,\n')
    assert values(found) == [{"sku": "007", "seed": "5", "points": [[1, 2]], "name": 'a "big", red\ncup'}, {}]


def test_headings_may_have_spaces_around_and_empty_columns_beside(tmp_path):
    assert values(lines(tmp_path, "m.csv", "sku , photo,,\na,b,,\n")) == [{"sku": "a", "photo": "b"}]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,b,c", "line: got 3 cells, expected 2"),
        ("a", "line: got 1 cells, expected 2"),
        ('"a"x,b', "line: got something broken ('"),
        ('a,"' + "x" * 200_000 + '"', "line: got something broken (field larger"),
    ],
)
def test_a_broken_row_is_told_and_the_next_is_read(tmp_path, row, problem):
    first, second = lines(tmp_path, "m.csv", f"sku,photo\n{row}\nc,d\n")
    assert (first.number, second.number) == (2, 3)
    assert first.problem is not None
    assert first.problem.startswith(problem)
    assert second.values == {"sku": "c", "photo": "d"}


def test_a_quote_that_never_ends_is_told(tmp_path):
    *_, last = lines(tmp_path, "m.csv", 'sku,photo\na,"b\nc,d\n')
    assert last.problem is not None
    assert "unexpected end of data" in last.problem


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="got the column 'seed' twice, expected another name for each"):
        lines(tmp_path, "m.csv", "sku,seed,seed\na,1,2\n")
    column = pyarrow.array(["a"])
    parquet.write_table(Table.from_arrays([column] * 3, ["sku", "seed", "seed"]), tmp_path / "m.parquet")
    with pytest.raises(InvalidArgument, match="got the column 'seed' twice"):
        list(read_lines(tmp_path / "m.parquet"))


def test_parquet_keeps_its_types_and_leaves_null_out(tmp_path):
    rows = [{"sku": "a", "points": [[1.0, 2.0]], "seed": 5}, {"sku": "b", "points": None, "seed": None}] * 300
    parquet.write_table(Table.from_pylist(rows), tmp_path / "m.parquet")
    found = list(read_lines(tmp_path / "m.parquet"))
    assert found[0] == Line(1, {"sku": "a", "points": [[1.0, 2.0]], "seed": 5})
    assert found[599] == Line(600, {"sku": "b"})


@pytest.mark.parametrize(
    "odd",
    [
        pyarrow.array([2**40], pyarrow.timestamp("s", "Europe/Berlin")),
        pyarrow.array([0], pyarrow.timestamp("s", "Mars/Olympus")),
        pyarrow.array([2**31 - 1], pyarrow.date32()),
        pyarrow.Array.from_buffers(
            pyarrow.utf8(), 1, [None, *pyarrow.array([b"\xff"], pyarrow.binary()).buffers()[1:]]
        ),
    ],
    ids=["a late day", "a place without a clock", "a late date", "no UTF-8"],
)
def test_a_cell_that_python_has_no_value_for_costs_no_other(tmp_path, odd):
    parquet.write_table(
        Table.from_arrays([pyarrow.array(["a"]), odd], ["sku", "odd"]), tmp_path / "m.parquet"
    )
    assert list(read_lines(tmp_path / "m.parquet")) == [Line(1, {"sku": "a"})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.parquet", b"no", "expected a Parquet file"),
        ("m.parquet", b"", "expected a Parquet file"),
        ("m.csv", b"sku\n\xff\n", "expected UTF-8"),
        ("m.xlsx", b"", r"expected a name that ends in \.jsonl, \.ndjson, \.csv, \.parquet"),
    ],
)
def test_a_file_that_is_none_of_these_is_refused(tmp_path, name, content, message):
    with pytest.raises(InvalidArgument, match=message):
        lines(tmp_path, name, content)


def test_a_manifest_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="no such file"):
        read_lines(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_an_empty_file_has_no_lines(tmp_path, name):
    assert lines(tmp_path, name, b"") == []
