"""Texts as they are found: headers or none, separators, companions of ids, hashed words."""

import re

import numpy as np
import pytest

from simulator._mix import mixed
from simulator.errors import TraceError
from simulator.traces.counts import read_counts
from simulator.traces.files import open_source
from simulator.traces.pieces import load

AVAZU = "id,click,hour,C1,banner_pos,site_id,device_type\n"


def opened(tmp_path, text, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return open_source(path, **options)


def tables(source):
    return {column.name: column.ids.tolist() for column in load(source)}


@pytest.mark.parametrize(
    ("text", "header", "expected"),
    [
        ("0,1,2\n7,8,9\n", "yes", {"0": [7], "1": [8], "2": [9]}),
        ("0,1,2\n7,8,9\n", "no", {"C1": [0, 7], "C2": [1, 8], "C3": [2, 9]}),
        ("0,1,2\n7,8,9\n", "auto", {"C1": [0, 7], "C2": [1, 8], "C3": [2, 9]}),
        ("user,item\n7,8\n", "auto", {"user": [7], "item": [8]}),
        ('"0","1"\n7,8\n', "auto", {"0": [7], "1": [8]}),  # only names are quoted
        ('"3","4"\n"7","8"\n', "auto", {"C1": [3, 7], "C2": [4, 8]}),
        (",0,1\n5,7,8\n6,7,9\n", "auto", {"0": [7, 7], "1": [8, 9]}),
        ("1,4.5,9\n2,3.5,9\n", "auto", {"C1": [1, 2], "C3": [9, 9]}),
        ("day,7\n1,2\n", "auto", {"day": [1], "7": [2]}),
        ('"user","item"\n"1",5,7\n"2",6,8\n', "auto", {"user": [5, 6], "item": [7, 8]}),  # R
    ],
)
def test_the_header_is_told_or_guessed(tmp_path, text, header, expected):
    assert tables(opened(tmp_path, text, header=header)) == expected


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("0,1,2\n7,8,9\n", "taken for ids, not for names, although it counts the columns: the col"),
        ("4,5\n", "taken for ids, not for names: the columns are called C1 .. C2"),
        ("day,7\n1,2\n", "taken for names although it has numbers"),
        ("# comment\n1 2\n", "taken for names although it begins with #"),
        ("4;5\n6;7\n", "fields are separated by semicolons"),
        ("user,rating\n4,2.5\n6,3.0\n", r"left out: 'rating' \(no whole numbers\); a.*read: user"),
        (",user\n4,2\n6,3\n", r"left out: '' \(the index of a data frame\).*; read: user"),
        ("user,label\n4,1\n", r"left out: 'label' \(a label\)"),
    ],
)
def test_what_was_guessed_is_said(tmp_path, text, note):
    assert [n for n in opened(tmp_path, text).notes if re.search(note, n)]


@pytest.mark.parametrize("header", ["yes", "no"])
def test_what_was_said_is_no_guess(tmp_path, header):
    assert opened(tmp_path, "0,1\n2,3\n", header=header).notes == ()
    assert opened(tmp_path, "user,item\n2,3\n").notes == ()


def test_a_header_is_of_text_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(TraceError, match="npy files have no header line"):
        open_source(tmp_path / "a.npy", header="yes")
    with pytest.raises(
        TraceError, match=r"line 2: 'user' is not an id \(an integer\) \(column 'C1'"
    ):
        load(opened(tmp_path, "1\nuser\n2\n", header="no"))


def test_the_index_of_a_frame_is_no_table(tmp_path):
    text = ",user,item\n3,1,5\n0,2,6\n"
    assert tables(opened(tmp_path, text)) == {"user": [1, 2], "item": [5, 6]}
    text = "Unnamed: 0,user,user_lengths,item_weights,timestamp\n3,1,5,7,9\n"
    assert tables(opened(tmp_path, text)) == {"user": [1], "item_weights": [7]}
    assert tables(opened(tmp_path, text, columns=("timestamp", "user"))) == {
        "timestamp": [9],
        "user": [1],
    }
    with pytest.raises(TraceError, match=r"no column \?; it has user, item"):
        opened(tmp_path, ",user,item\n3,1,5\n", columns=("?",))
    with pytest.raises(TraceError, match="no table of ids"):
        opened(tmp_path, "rating,label\n0.5,1\n")
    with pytest.raises(TraceError, match="column 1 has no name"):
        opened(tmp_path, ",a\n0,9\n1,8\n", "counts.csv") and read_counts(tmp_path / "counts.csv")
    assert read_counts(tmp_path / "counts.csv", ("a",))[0][1].tolist() == [9, 8]


def test_counts_under_a_line_of_numbers_must_be_told(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\n9,8\n")
    with pytest.raises(TraceError, match=r"line 1 counts the columns \(0, 1\)"):
        read_counts(tmp_path / "a.csv")
    named = read_counts(tmp_path / "a.csv", header="yes")
    assert [(n, c.tolist()) for n, c in named] == [("0", [9]), ("1", [8])]
    bare = read_counts(tmp_path / "a.csv", header="no")
    assert [(n, c.tolist()) for n, c in bare] == [("C1", [0, 9]), ("C2", [1, 8])]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ratings.dat", "1::5::978300760\n2::6::978302109\n"),
        ("u.data", "1\t5\t978300760\n2\t6\t978302109\n"),
        ("a.csv", "1;5;978300760\r\n2;6;978302109\r\n"),
        ("a.txt", "1|5|978300760\n2|6|978302109"),
        ("a.txt", "1  5 978300760\n2 6   978302109\n"),
        ("a.tsv", "1,5,978300760\n2,6,978302109\n"),
        ("a.log", "1,5,978300760\n\n  \n2,6,978302109\n\n"),
        ("a.csv", "1,5,978300760,\n2,6,978302109,\n"),
        ("a.csv", '"1","5","978300760"\n"2", 6 ,978302109'),
        ("a", "1,5,978300760\r2,6,978302109\r"),
    ],
)
def test_separators_and_line_ends(tmp_path, name, text):
    assert tables(opened(tmp_path, text, name)) == {
        "C1": [1, 2],
        "C2": [5, 6],
        "C3": [978300760, 978302109],
    }


def test_one_id_a_line_needs_no_separator(tmp_path):
    for name in ("a.txt", "a.csv", "a.tsv", "a.dat"):
        assert tables(opened(tmp_path, "4\n2\n0", name)) == {"C1": [4, 2, 0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n\n1,2,3\n", "line 4: 3 fields, expected 2"),
        ("x\n1\n1_000\n", "line 3: '1_000' is not an id"),
        ("x\n1\n+1\n", r"line 3: '\+1' is not an id"),
        ("x\n1\n٣\n", "line 3: '٣' is not an id"),
        ("x\n1\n2e3\n", "line 3: '2e3' is not an id"),
        ("x,y\n1,2\n,3\n", r"line 3: '' is not an id .*\(column 'x'\)"),
        ("x\n1\n" + "9" * 6000 + "\n", r"line 3: id 9{40}\.\.\. is above 2\*\*64 - 1"),
        ("x\n1\n-" + "9" * 6000 + "\n", "line 3: id -9+... is negative"),
        ("x\n1\n" + "8" * 140_000 + "\n", "cannot be read as text after line 2: field larger"),
        ("x\n1\n-3\n", r"table 'x': id -3 at record 1 is negative \(records count from 0\)"),
    ],
)
def test_bad_ids_are_named_with_line_and_column(tmp_path, text, message):
    with pytest.raises(TraceError, match=message) as caught:
        load(opened(tmp_path, text))
    assert "a.csv" in str(caught.value)


def criteo(width, word="68fd1e64"):
    return "\t".join([*["1"] * (width - 27), "", *[word] * 26])


@pytest.mark.parametrize("name", ["train.txt", "day_0", "a.criteo"])
@pytest.mark.parametrize("width", [39, 40])
def test_criteo_with_and_without_its_label(tmp_path, name, width):
    source = opened(tmp_path, f"{criteo(width)}\n" * 2, name, columns=("C1", "C26"), sizes=(10, 99))
    row = mixed(0x68FD1E64 + 1)
    assert tables(source) == {"C1": [row % 10] * 2, "C26": [row % 99] * 2}
    assert ("39 fields a line: there is no label" in source.notes) == (width == 39)
    assert ("read as criteo, by its first lines" in source.notes) == (name != "a.criteo")
    with pytest.raises(TraceError, match="line 2: 2 fields"):
        load(opened(tmp_path, criteo(width) + "\n1\t2\n", name, format="criteo", sizes=(9,)))


def test_forty_columns_of_decimals_are_no_criteo(tmp_path):
    text = "\n".join("\t".join(str(7 * i + j) for j in range(40)) for i in range(3))
    assert tables(opened(tmp_path, text, "a.txt"))["C40"] == [39, 46, 53]


def test_words_are_hashed_to_the_stated_sizes(tmp_path):
    text = AVAZU + "".join(
        f"{10**19 + i},0,14102100,1005,{i % 2},{site},1\n"
        for i, site in enumerate(["1fbe01fe", "85f751fd", "", "1fbe01fe"])
    )
    source = opened(tmp_path, text, "train.csv", sizes=(1000,))
    assert source.tables == ("C1", "banner_pos", "site_id", "device_type")
    assert "read as words, by its first lines" in source.notes
    found = tables(source)
    assert found["site_id"][0] == found["site_id"][3] != found["site_id"][1]
    assert found["site_id"][2] == mixed(0) % 1000
    assert max(map(max, found.values())) < 1000
    two = opened(tmp_path, text, "a.txt", columns=("site_id", "C1"), sizes=(5, 9))
    assert max(tables(two)["site_id"]) < 5
    with pytest.raises(TraceError, match=r"4 tables need as many sizes, 0 are given \(C1, banner"):
        opened(tmp_path, text, "train.csv")
    other = opened(tmp_path, "town\tpet\nRome\tcat\nBern\tdog\n", format="words", sizes=(50,))
    assert other.tables == ("town", "pet")
    assert "fields are separated by tabs" in other.notes
