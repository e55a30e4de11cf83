"""Bad input of bulk actions: a clear error that names the first offenders, and not one submission."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from stoq_provider.exceptions import ValidationRejected

from .conftest import fails

GOOD = list(range(1, 2501))
RELEASE, SYNC, TAGS = "release", "sync_metafields", "set_tags"


def bad(name, action, ids, *says, **options):
    return pytest.param(action, ids, options, says, id=name)


LISTS = [
    bad("empty", RELEASE, [], "order_ids is empty", "on_empty='skip'"),
    bad("no list", RELEASE, None, "order_ids must be a list of whole numbers, not NoneType"),
    bad("one number", SYNC, 12, "variant_ids must be a list of whole numbers, not int"),
    bad("text of a list", RELEASE, "[1, -2]", "1 of 2 entries", "-2 at position 1"),
    bad("text of half a list", RELEASE, "[1, 2", "order_ids given as text that begins with '['"),
    bad("text", RELEASE, "12,13", "must be the path of a file: '12,13'"),
    bad("not whole", RELEASE, [1, 2.5], "1 of 2 entries", "2.5 at position 1"),
    bad("none inside", RELEASE, [1, None], "None at position 1"),
    bad(
        "ids as text",
        RELEASE,
        ["1", "2"],
        "2 of 2",
        "'1' at position 0",
        "They are text",
        "[int(i) for i in ids]",
    ),
    bad("bools", RELEASE, [True, False], "2 of 2 entries", "True at position 0"),
    bad("negative", SYNC, [5, -5], "-5 at position 1"),
    bad("zero", SYNC, [0], "0 at position 0"),
    bad("only the last of a long list", RELEASE, [*GOOD, "x"], "1 of 2,501 entries", "'x' at position 2500"),
    bad("many", SYNC, [*GOOD, *"abcd"], "4 of 2,504", "'a' at position 2500", "'c' at", "and 1 more"),
    bad("a million", SYNC, range(1, 10**6 + 1), "holds 1,000,000 ids", "at most 100,000", "max_items"),
    bad("more than max_items", RELEASE, [1, 2, 3], "holds 3 ids; at most 2", max_items=2),
]
PARAMETERS = [
    bad(
        "unknown action",
        "nonsense",
        [1],
        "no bulk action 'nonsense'",
        "Known are recalculate_preorder_counts",
    ),
    bad("near miss", "sync_metafield", [1], "no bulk action", "sync_metafields"),
    bad("unknown key", RELEASE, [1], "no key 'forse'", "force", body={"forse": True}),
    bad("key of another action", "cancel", [1], "no key 'force'", "Known are none", body={"force": True}),
    bad("set_tags without a body", TAGS, [1], "set_tags needs 'tags'"),
    bad("set_tags without tags", TAGS, [1], "set_tags needs 'tags'", body={"tags": []}),
    bad("set_tags with text", TAGS, [1], "'tags' must be a list of texts", body={"tags": "late"}),
]
SELECTIONS = [
    bad("an id of Shopify's other API", RELEASE, "gid://shopify/Order/1", "must be a list of ids", "gid://"),
    bad("a URL without a store", RELEASE, "http://x.example/ids", "could not be read", "ValueError"),
    bad("a path with NUL", RELEASE, "/x/\0", "could not be read", "ValueError"),
    bad("a number as text", RELEASE, "12", "must be the path", "render_template_as_native_obj=True"),
    bad("what a template makes of numpy", RELEASE, "[np.int64(1)]", "render_template_as_native_obj=True"),
    bad("ids as text, as text", RELEASE, "['1','2']", "2 of 2", "render_template_as_native_obj=True"),
    bad("unknown filter", RELEASE, {"ofer_id": 1}, "takes one or more of state, offer_id", "'ofer_id'"),
    bad("no filter", SYNC, {}, "takes one or more of offer_id, product_id"),
    bad("state of variants", SYNC, {"state": "placed"}, "unknown: ['state']"),
    bad("unknown key beside path", RELEASE, {"path": "/x/y", "col": "a"}, "{'path', 'column'}", "['col']"),
    bad(
        "no such file",
        RELEASE,
        "/nowhere/ids.txt",
        "could not be read from '/nowhere/ids.txt'",
        "FileNotFoundError",
    ),
]


@pytest.mark.parametrize(("action", "ids", "options", "says"), [*LISTS, *PARAMETERS, *SELECTIONS])
def test_bad_input_sends_nothing(bench, sandbox, action, ids, options, says):
    run = bench.bulk(action, ids, **options)
    error = fails(run.execute, ValidationRejected, *says, "Nothing was sent", final=True)
    assert bench.submissions == 0
    assert sandbox.state["requests"] == {}
    assert run.store.records() == []
    assert run.ti.xcoms == {}
    assert len(str(error)) < 600


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("action", "ids", "options", "says"), LISTS[:4])
def test_bad_input_is_bad_for_a_dry_run_too(bench, sandbox, action, ids, options, says, dry_run):
    fails(bench.bulk(action, ids, dry_run=dry_run, **options).execute, ValidationRejected, *says, final=True)


FILES = [
    bad(
        "bad lines", None, b"1\n\nx\n2\ny y\n", "2 of 4 lines hold no id", "'x' in line 3", "'y y' in line 5"
    ),
    bad("only the last line", None, b"1\n" * 3000 + b"-7\n", "1 of 3,001 lines", "'-7' in line 3001"),
    bad("no such column", "order", b"id,name\n1,a\n", "no column 'order'", "its columns are id, name"),
    bad("empty", None, b"\n\n", "order_ids is empty"),
    bad("empty column", "id", b"id,name\n,a\n", "order_ids is empty"),
    bad("no text", None, b"1\n\xff\n", "UnicodeDecodeError"),
    bad("a quote without its end", "id", b'id,name\n1,"a\n2,b\n', "no CSV that can be read"),
]


@pytest.mark.parametrize(("column", "content", "options", "says"), FILES)
def test_a_bad_file_sends_nothing(bench, sandbox, tmp_path, column, content, options, says):
    file = tmp_path / "ids"
    file.write_bytes(content)
    given = str(file) if column is None else {"path": str(file), "column": column}
    run = bench.bulk(RELEASE, given)
    fails(run.execute, ValidationRejected, *says, "Nothing was sent", final=True)
    assert sandbox.state["requests"] == {}


@pytest.mark.parametrize(
    "given", [[], {"state": "placed", "from": "2030-01-01"}, "file"], ids=["list", "selection", "file"]
)
def test_no_items_skip_the_task_where_that_is_wanted(bench, tmp_path, given):
    (tmp_path / "ids").write_text("\ufeff\n")
    run = bench.bulk(RELEASE, str(tmp_path / "ids") if given == "file" else given, on_empty="skip")
    with pytest.raises(AirflowSkipException, match=r"no order_ids.*Nothing was sent"):
        run.execute()
    assert bench.submissions == 0


@pytest.mark.parametrize("write", [list, str], ids=["list", "text"])
def test_duplicates_are_dropped_in_order_and_counted(bench, write, logs):
    bench.bulk(RELEASE, write([9, 3, 9, 9, 5, 3])).execute()
    assert bench.sent() == [[9, 3, 5]]
    assert "3 items in 1 submissions, 3 duplicates dropped" in logs.text


def test_a_list_that_only_the_server_refuses_is_final_and_leaves_no_record(bench):
    run = bench.bulk(RELEASE, [1], extra_body={"force": "yes"})
    fails(run.execute, ValidationRejected, "force must be a boolean", "No remote job was started", final=True)
    assert bench.submissions == 0
    assert run.store.records() == []


@pytest.mark.parametrize("column", [None, "order"])
def test_a_file_as_spreadsheets_write_it(bench, tmp_path, column):
    file = tmp_path / "ids.csv"
    head = "" if column is None else '"order"\r\n'
    file.write_text(f"\ufeff{head}7\r\n\r\n8\r\n7\r\n", encoding="utf-8")
    bench.bulk(
        RELEASE, str(file) if column is None else {"path": f"file://{file}", "column": column}
    ).execute()
    assert bench.sent() == [[7, 8]]
