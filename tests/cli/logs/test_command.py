"""`logferry logs`: one invocation, failed invocations, and the lines of a window."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from support.command_line import in_terminal, run, without_colours
from support.stored_logs import START, invocation, make_object, make_objects, request_id, store_in

ID = request_id(7)


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """Return a destination with one invocation in two objects, a failed one, and a cold one of another function."""
    lines = ["[INFO]\tcache miss", "[ERROR]\tpayment timeout", {"level": "WARN", "message": "retry", "n": 2}]
    split = invocation(7, START, lines, status="error", error_type="Handled", duration_ms=202.4)
    cold = invocation(8, START + timedelta(seconds=1), ["plain text"], init_ms=205.1)
    store_in(
        tmp_path,
        [
            make_object(split[:3], segment=1),
            make_object(split[3:], segment=2, final=True, running=ID),
            make_object(cold, function="orders-web", environment=2, final=True),
        ],
    )
    return f"file://{tmp_path}"


@pytest.mark.parametrize("prefix", [ID[:8], ID, ID[:13].upper()])
def test_a_prefix_of_the_request_id_shows_the_invocation_in_order(stored: str, prefix: str) -> None:
    """An invocation in two objects is one, in the order of its lines, with the state of both segments."""
    done = run("logs", stored, "--function", "orders-api", "--request-id", prefix)
    assert done.status == 0, done.stderr
    assert done.stdout.splitlines() == [
        (
            "orders-api $LATEST eu-central-1, environment 0000000000000001, segments 1 to 2, "
            "2026-11-21T02:10:00.000Z to 02:10:00.202Z, error Handled"
        ),
        "  +0 ms     START",
        "  +50 ms    INFO   cache miss",
        "  +101 ms   ERROR  payment timeout",
        "  +151 ms   WARN   retry n=2",
        "  +202 ms   REPORT error Handled, 202.4 ms, billed 203 ms, 73/512 MB",
        "6 lines of 2 objects; complete: segments 1, 2 have their end.",
    ]
    assert re.fullmatch(r"2 objects \(\d+ B\); \d+\.\d s\n", done.stderr)


def test_a_missing_line_makes_the_invocation_incomplete(tmp_path: Path) -> None:
    """The closing line of the segment has the number of its records."""
    whole = make_object(invocation(7, START, ["a", "b"]), segment=3, key="{environment}-{segment}.ndjson")
    lines = whole.body.splitlines(keepends=True)
    store_in(tmp_path, [whole._replace(body=b"".join([*lines[:2], *lines[3:]]))])
    done = run("logs", f"file://{tmp_path}", "--since", "2026-11-21", "--request-id", ID)
    assert done.stdout.splitlines()[-1] == (
        "4 lines of 1 object; INCOMPLETE: segment 3 has missing or duplicated lines, see `logferry verify`."
    )


def test_errors_shows_failed_and_cold_invocations_one_line_each(stored: str) -> None:
    """Without a terminal, a line has its complete time and no colour."""
    done = run("logs", stored, "--since", "2026-11-21T02:00Z", "--errors")
    assert done.stdout.splitlines() == [
        f"2026-11-21T02:10:00.202Z orders-api 0000 {ID[:8]} ●     error Handled, 202.4 ms, billed 203 ms, 73/512 MB",
        (
            f"2026-11-21T02:10:01.034Z orders-web 0000 {request_id(8)[:8]} ●     34.1 ms, billed 35 ms, 73/512 MB, "
            "cold start 205.1 ms"
        ),
    ]


def test_all_lines_of_a_window_are_shown_in_the_order_of_time(stored: str) -> None:
    """Lines of the platform need --platform. --grep shows matching lines only, and --until ends the window."""
    texts = [line.split(" ", 4)[4].strip() for line in run("logs", stored, "--function", "*").stdout.splitlines()]
    assert texts == []  # a pattern for all functions needs a time
    done = run("logs", stored, "--since", "2026-11-21")
    assert [line[9:24] for line in done.stdout.splitlines()] == sorted(line[9:24] for line in done.stdout.splitlines())
    assert len(done.stdout.splitlines()) == 6
    assert len(run("logs", stored, "--since", "2026-11-21", "--platform").stdout.splitlines()) == 13
    found = run("logs", stored, "--since", "2026-11-21", "--grep", "time.ut|plain").stdout.splitlines()
    assert [line.split(" ", 4)[4].strip() for line in found] == ["ERROR payment timeout", "plain text"]
    until = run("logs", stored, "--since", "2026-11-21", "--until", "2026-11-21T02:10:00.06Z")
    assert len(until.stdout.splitlines()) == 1


def test_json_has_one_object_for_each_line(stored: str) -> None:
    """The columns are those of the line, and the text is without the prefix of the runtime."""
    done = run("logs", stored, "--function", "orders-*", "--since", "2026-11-21", "--request-id", ID[:8], "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 1, 2, 3]
    assert rows[1] == {
        "time": "2026-11-21T02:10:00.050Z",
        "function": "orders-api",
        "environment": "0000000000000001",
        "segment": 1,
        "line": 2,
        "type": "function",
        "requestId": ID,
        "level": "INFO",
        "text": "cache miss",
    }


def test_an_unknown_request_has_status_1_and_a_remedy(stored: str) -> None:
    """The message names the options that limit the read."""
    done = run("logs", stored, "--function", "orders-api", "--request-id", "ffffffff")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == (
        "no line with a request ID that begins with ffffffff of orders-api was found: check --function and --since"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --function or --since"),
        (("--function", "a", "--request-id", "x y"), "at least 4 hexadecimal digits"),
        (("--function", "a", "--request-id", "abcd", "--errors"), "exclude each other"),
        (("--function", "a", "--grep", "("), "not a regular expression"),
        (("--since", "yesterday"), "use an age such as 2h or 7d"),
        (("--since", "1h", "--until", "2h"), "after --until"),
    ],
)
def test_invalid_options_are_named_with_the_remedy(stored: str, arguments: tuple[str, ...], message: str) -> None:
    """The status is 2, and nothing is read."""
    done = run("logs", stored, *arguments, environment={"COLUMNS": "200"})
    assert (done.status, done.stdout) == (2, "")
    assert message in " ".join(re.sub(r"[│╭╰─╮╯]", " ", done.stderr).split())


def test_an_unreadable_object_is_named_and_hides_no_line(stored: str) -> None:
    """The status is 1, because the result can be incomplete."""
    path = stored.removeprefix("file://")
    odd = make_object([])._replace(key="function=orders-api/dt=2026-11-21/hour=02/x.ndjson.gz", body=b"no gzip")
    store_in(Path(path), [odd, *make_objects(1, environment=9)])
    done = run("logs", stored, "--function", "orders-api", "--errors")
    assert done.status == 1
    assert len(done.stdout.splitlines()) == 1
    assert "unreadable, not in the result: function=orders-api/dt=2026-11-21/hour=02/x.ndjson.gz (" in done.stderr


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_has_colours_and_short_times_below_the_date(tmp_path: Path, columns: int) -> None:
    """A long name of a function is cut in a narrow terminal, so that the text stays on the line."""
    name = "orders-of-the-northern-region"
    store_in(tmp_path, [make_object(invocation(1, START, ["[WARN]\tslow", "second line"]), function=name)])
    text = in_terminal(columns, "logs", f"file://{tmp_path}", "--since", "2026-11-21", "--highlight", "slow")
    assert "\x1b[" in text
    lines = without_colours(text[text.index("(UTC)") - 40 :]).splitlines()
    shown = "orders-of-the…" if columns == 80 else "orders-of-the-northern-…"
    dated, first, second, report, *_ = [line.strip() for line in lines[-5:]]
    assert dated.endswith("2026-11-21 (UTC)")
    assert first == f"02:10:00.011 {shown} 0000 {request_id(1)[:8]} WARN  slow"
    assert second == f"02:10:00.022 {shown} 0000 {request_id(1)[:8]}       second line"
    assert report.startswith(f"02:10:00.034 {shown} 0000 {request_id(1)[:8]} ●     34.1 ms")
    assert max(map(len, (first, second, report))) <= 80 + len(shown)
