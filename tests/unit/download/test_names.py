from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.download.names import MAX_BYTES, add_job_id, clean_file_name, distinct_names


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("preorders_revenue_2026-01-01_2026-05-28.csv", "preorders_revenue_2026-01-01_2026-05-28.csv"),
        ("../../etc/passwd", "passwd"),
        ("/etc/shadow", "shadow"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("..\\..\\x.csv", "x.csv"),
        ("..", "fallback.csv"),
        (".", "fallback.csv"),
        ("...", "fallback.csv"),
        ("", "fallback.csv"),
        (None, "fallback.csv"),
        ("folder/", "fallback.csv"),
        (" \t\n", "fallback.csv"),
        (".hidden.csv", "hidden.csv"),
        ("a\x00b.csv", "ab.csv"),
        ("a\x1b[31mb\x7f.csv", "a[31mb.csv"),
        ("a\r\nb.csv", "a b.csv"),
        ("invoice\u202efdc.csv", "invoicefdc.csv"),
        ("zero\u200bwidth.csv", "zerowidth.csv"),
        ("a \u200b b.csv", "a b.csv"),
        ("surrogate\ud800.csv", "surrogate.csv"),
        ("Bestellungen_Mu\u0308nchen.csv", "Bestellungen_München.csv"),
        ("NUL", "_NUL"),
        ("con.csv", "_con.csv"),
        ("Lpt9.tar.gz", "_Lpt9.tar.gz"),
        ("COM¹.csv", "_COM¹.csv"),
        ("console.csv", "console.csv"),
        ('a:b|c?d*e<f>g"h.csv', "a_b_c_d_e_f_g_h.csv"),
        ("x.csv?versionId=1", "x.csv_versionId=1"),
        ("trailing. . ", "trailing"),
        ("100%20sure.csv", "100%20sure.csv"),
        ("..%2f..%2fetc%2fpasswd", "%2f..%2fetc%2fpasswd"),
    ],
)
def test_untrusted_name(given_name, expected):
    assert clean_file_name(given_name, "fallback.csv") == expected


@pytest.mark.parametrize(
    ("given_name", "ending"),
    [("x" * 300 + ".csv", ".csv"), ("é" * 300 + ".csv.gz", ".gz"), ("x" * 300, "x"), ("x." + "y" * 300, "y")],
)
def test_long_name_keeps_its_extension(given_name, ending):
    name = clean_file_name(given_name)
    assert MAX_BYTES - 2 < len(name.encode()) <= MAX_BYTES
    assert name.endswith(ending)


@pytest.mark.parametrize(
    ("given_name", "job_id", "number", "expected"),
    [
        ("a.csv", "j1", 0, "a-j1.csv"),
        ("a", "j1", 2, "a-j1-2"),
        ("a.csv", "", 0, "a.csv"),
        ("a.csv", "../", 3, "a-3.csv"),
        ("a.csv", "x/j\x001", 0, "a-j1.csv"),
        ("v1.a_long_last_part_of_it", "j1", 0, "v1.a_long_last_part_of_it-j1"),
        ("é" * 98 + ".csv", "j1", 12, "é" * 95 + "-j1-12.csv"),
        ("a.csv", "é" * 100, 12, "-" + "é" * 96 + "-12.csv"),
    ],
)
def test_job_id_goes_before_the_extension(given_name, job_id, number, expected):
    assert add_job_id(given_name, job_id, number) == expected


def test_fallback_is_not_trusted_either():
    assert clean_file_name(None, "../../job\x00.csv") == "job.csv"
    assert clean_file_name("", "..") == "export.csv"


@given(st.text(st.characters()) | st.text(alphabet="./\\ \tcon0:\u202e\u0308ue\ud800é"))
def test_any_name_is_one_harmless_component(text):
    name = clean_file_name(text)
    assert name
    assert name not in (".", "..")
    assert not set(name) & set('/\\<>:"|?*')
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert not any(unicodedata.category(c).startswith("C") for c in name)
    assert len(name.encode()) <= MAX_BYTES
    assert clean_file_name(name) == name


# --- several files ------------------------------------------------------------------------------------


def test_files_of_one_name_get_their_job_ids():
    given = [("a.csv", "j1"), ("b.csv", "j2"), ("A.csv", "j3"), (None, "j4"), ("x/a.csv", "j5"), ("c", "j6")]
    assert distinct_names(given) == ["a-j1.csv", "b.csv", "A-j3.csv", "j4.csv", "a-j5.csv", "c"]


@pytest.mark.parametrize(
    ("given_files", "expected"),
    [
        (
            [("same.csv", "j0"), ("same.csv", "j1"), ("same-j0.csv", "j2")],
            ["same-j0-1.csv", "same-j1.csv", "same-j0.csv"],
        ),
        ([("a.csv", "J"), ("a.csv", "j")], ["a-J.csv", "a-j-1.csv"]),
        ([("a.csv", "x/1"), ("a.csv", "y/1")], ["a-1.csv", "a-1-1.csv"]),
        ([("a.csv", "j"), ("a.csv", "j"), ("a.csv", "j")], ["a-j.csv", "a-j-1.csv", "a-j-2.csv"]),
        ([("a.csv", ""), ("a.csv", None), ("a.csv", "..")], ["a.csv", "a-1.csv", "a-2.csv"]),
        ([(None, None), (None, "")], ["export.csv", "export-1.csv"]),
        ([("STRASSE.csv", "1"), ("straße.csv", "2")], ["STRASSE-1.csv", "straße-2.csv"]),
    ],
)
def test_names_that_ids_do_not_tell_apart_get_a_number(given_files, expected):
    assert distinct_names(given_files) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.csv", "a", ["a-1.csv", "a-2"]),
        ("a.CSV", "a", ["a-1.CSV", "a-2"]),
        ("A.CSV", "a.csv.csv", ["A-1.CSV", "a.csv-2.csv"]),
        ("a.csv", "a.csv.gz", ["a-1.csv", "a.csv-2.gz"]),
        ("a.csv", "a.parquet", ["a-1.csv", "a-2.parquet"]),
        ("a.csv", "a.txt", ["a.csv", "a.txt"]),
    ],
)
def test_files_made_of_others_stay_apart_too(first, second, expected):
    assert distinct_names([(first, "1"), (second, "2")]) == expected


@pytest.mark.parametrize("character", ["n", "é", "日", "😀"])
def test_long_names_keep_the_whole_id(character):
    ids = [f"0190a5b2-0001-7000-8000-{end * 12}" for end in "ab"]
    names = distinct_names([(character * 300 + ".csv", job_id) for job_id in ids])
    assert [name.endswith(f"{character}-{ids[n]}.csv") for n, name in enumerate(names)] == [True, True]
    assert {len(name.encode()) > MAX_BYTES - 4 for name in names} == {True}


def test_number_is_never_cut_off():
    names = distinct_names([("😀" * 300 + ".csv", "j" * 300 + end) for end in "ab"])
    assert [name[-8:] for name in names] == ["jjjj.csv", "jj-1.csv"]


LENGTHENED = st.builds(
    lambda text, times, end: text * times + end,
    st.text(st.characters(), max_size=4) | st.text(alphabet="aAßé日😀-.", max_size=4),
    st.sampled_from([1, 2, 60, 300]),
    st.sampled_from(["", ".csv", ".CSV", ".csv.csv", ".csv.gz", "-a.csv", "-a-1.csv", "-1", ".txt"]),
)
IDS = (
    st.sampled_from(["a", "A", "a-1", "1", "a.csv", "x/a", "", "j" * 300, "J" * 301, "日" * 90]) | LENGTHENED
)
NAMED = st.tuples(st.none() | st.sampled_from(["a.csv", "a", "A.CSV", "a-a.csv"]) | LENGTHENED, IDS)


def check_distinct(names):
    assert len({name.casefold().removesuffix(".csv") for name in names}) == len(names)
    assert all(len(name.encode()) <= MAX_BYTES for name in names)
    # The download cleans them once more.
    assert [clean_file_name(name) for name in names] == names


@given(st.lists(NAMED, unique_by=lambda pair: pair[1]))
def test_any_names_become_distinct_whatever_their_order(given_files):
    names = distinct_names(given_files)
    check_distinct(names)
    assert distinct_names(given_files[::-1]) == names[::-1]


@given(st.lists(st.tuples(NAMED.map(lambda pair: pair[0]), st.none() | st.sampled_from(["", "a", "a-1"]))))
def test_any_names_become_distinct_without_ids_that_differ(given_files):
    check_distinct(distinct_names(given_files))
