from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_provider.download.destination import MAX_BYTES, add_job_id, clean_file_name


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


@given(st.text() | st.text(alphabet="./\\ \tcon0:\u202e\u0308ue\ud800é"))
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
