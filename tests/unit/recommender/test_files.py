from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.errors import EmptyInteractions, InvalidInteractions
from recommender.files import day_number, read_interactions
from tests.unit.recommender import shop


def csv_file(folder: Path, text: str) -> Path:
    file = folder / "orders.csv"
    file.write_bytes(text.encode("utf-8"))
    return file


def test_csv_is_read_with_days_or_dates(tmp_path: Path) -> None:
    days = read_interactions(
        csv_file(tmp_path, "user_id,item_id,day,quantity\na,茶,20000,2\nb,cup,20001,1.5\n")
    )
    dates = read_interactions(
        csv_file(
            tmp_path,
            "\ufeffquantity,date,item_id,colour,user_id\r\n2,2024-10-04,茶,red,a\r\n1.5,2024-10-05,cup,,b\r\n",
        )
    )
    for read in (days, dates):
        assert read.users.ids == ("a", "b")
        assert read.items.ids == ("cup", "茶")
        assert read.day.tolist() == [20000, 20001]
        assert read.quantity.tolist() == [2, 1.5]


@pytest.mark.parametrize(
    "times",
    [
        ("2024-10-04T00:30:00+08:00", "2024-10-05T23:30:00-05:00"),
        ("2024-10-04 23:59:59", "2024-10-05 00:00:00.25"),
        ("2024-10-04T10:00Z", "20241005"),
    ],
)
def test_a_time_counts_for_the_day_that_it_names(tmp_path: Path, times: tuple[str, str]) -> None:
    columns = {"user_id": ["a", "b"], "item_id": ["x", "x"], "date": list(times)}
    text = f"user_id,item_id,date\na,x,{times[0]}\nb,x,{times[1]}\n"
    for file in (csv_file(tmp_path, text), write_parquet(tmp_path, columns)):
        assert read_interactions(file).day.tolist() == [20000, 20001]


def test_a_text_in_parquet_that_is_no_date_is_named(tmp_path: Path) -> None:
    columns = {"user_id": ["a", "b"], "item_id": ["x", "x"], "date": ["2024-10-04", "04/10/2024"]}
    with pytest.raises(InvalidInteractions, match=r"orders\.parquet: date '04/10/2024' cannot be read"):
        read_interactions(write_parquet(tmp_path, columns))


def test_without_a_quantity_column_each_row_counts_one(tmp_path: Path) -> None:
    read = read_interactions(csv_file(tmp_path, "user_id,item_id,day\na,x,1\n\na,x,1\n"))
    assert read.quantity.tolist() == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column user_id"),
        ("user_id,day\n", "no column item_id"),
        ("user_id,item_id\n", "no column day or date"),
        ("user_id,item_id,day\na,x,1,9\n", "line 2 has 4 fields, not 3"),
        ("user_id,item_id,day\na,x,1\na,x\n", "line 3 has 2 fields"),
        ("user_id,item_id,day\n,x,1\n", "line 2 has no user_id"),
        ("user_id,item_id,day\na,,1\n", "line 2 has no item_id"),
        ("user_id,item_id,day\na,x,1.5\n", r"line 2: day '1\.5' cannot be read"),
        ("user_id,item_id,date\na,x,04/10/2024\n", "line 2: date '04/10/2024' cannot be read"),
        (
            "user_id,item_id,day,quantity\na,x,1,-2\n",
            "line 2: quantity '-2' is not a finite number above zero",
        ),
        ("user_id,item_id,day,quantity\na,x,1,nan\n", "line 2: quantity 'nan'"),
        ("user_id,item_id,day,quantity\na,x,1,many\n", "line 2: quantity 'many' is not a number"),
        ("user_id,item_id,date\na,x,2024-10-04T25:00\n", "line 2: date '2024-10-04T25:00' cannot be read"),
        ("item_id,user_id,item_id,day\nx,a,y,1\n", "there are 2 columns item_id"),
        ('user_id,item_id,day\na,"x,1\n', "not CSV"),
        ("user_id,item_id,day\na\0,x,1\n", r"user_id holds 'a\\x00'"),
    ],
)
def test_a_csv_line_that_makes_no_sense_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInteractions, match=message) as refused:
        read_interactions(csv_file(tmp_path, text))
    assert "orders.csv" in str(refused.value)


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(b"user_id,item_id,day\n\xe9,x,1\n")
    with pytest.raises(InvalidInteractions, match="not UTF-8"):
        read_interactions(file)
    with pytest.raises(InvalidInteractions, match="is not a file"):
        read_interactions(tmp_path / "nowhere.csv")


def test_a_file_with_only_a_header_is_empty(tmp_path: Path) -> None:
    with pytest.raises(EmptyInteractions):
        read_interactions(csv_file(tmp_path, "user_id,item_id,day\n"))


def write_parquet(folder: Path, columns: Mapping[str, object]) -> Path:
    file = folder / "orders.parquet"
    pq.write_table(pa.table(dict(columns)), file)
    return file


@pytest.mark.parametrize(
    "when",
    [
        {"day": [20000, 20001]},
        {"date": [date(2024, 10, 4), date(2024, 10, 5)]},
        {"date": [datetime(2024, 10, 4, 23, 59), datetime(2024, 10, 5, 0, 1)]},
    ],
)
def test_parquet_is_read_with_days_dates_or_timestamps(tmp_path: Path, when: dict[str, list[object]]) -> None:
    columns = {"user_id": [17850, 7], "item_id": ["x", "y"], "quantity": [1, 2], "other": [0, 0], **when}
    read = read_interactions(write_parquet(tmp_path, columns))
    assert read.users.ids == ("17850", "7")
    assert read.day.tolist() == [20000, 20001]
    assert read.quantity.tolist() == [1, 2]


def test_parquet_with_gaps_or_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInteractions, match="day is missing in 1 rows"):
        read_interactions(
            write_parquet(tmp_path, {"user_id": ["a"], "item_id": ["x"], "day": pa.array([None], pa.int32())})
        )
    with pytest.raises(InvalidInteractions, match="no column item_id"):
        read_interactions(write_parquet(tmp_path, {"user_id": ["a"], "day": [1]}))


def test_something_else_named_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    file.write_text("user_id,item_id,day\n")
    with pytest.raises(InvalidInteractions, match="cannot be read as Parquet"):
        read_interactions(file)


def test_the_whole_shop_survives_a_file(tmp_path: Path) -> None:
    columns = dict(zip(shop.Row._fields, map(list, zip(*shop.rows(), strict=True)), strict=True))
    read = read_interactions(write_parquet(tmp_path, columns))
    assert read.items == shop.interactions().items
    assert read.quantity.tolist() == shop.interactions().quantity.tolist()


def test_days_are_counted_from_1970() -> None:
    assert day_number(date(1970, 1, 1)) == 0
    assert day_number(date(2024, 10, 4)) == 20000
