"""Choice of the lanes of the time line: limits, order, and no environment twice."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from logferry.cli.report import lanes
from logferry.cli.report.lanes import Environment, choose


def environment(number: int, function: str = "api", *, marks: int = 4, failed: int = 0) -> Environment:
    """Return an environment that starts at second `number`."""
    return Environment(
        f"{number:016x}", function, number * 1000, number * 1000 + 500, marks // 2, True, marks // 2, failed
    )


def names(found: list[lanes.Lane]) -> Counter[str]:
    """Return how often each environment is in the lanes."""
    return Counter(one.environment for lane in found for one in lane.environments)


def test_each_environment_has_its_own_lane_up_to_the_limit() -> None:
    """The order is by function and then by time."""
    some = [environment(n, "b" if n % 2 else "a") for n in range(lanes.MAX_ENVIRONMENTS)]
    found = choose(some, set())
    assert all(lane.is_single for lane in found)
    assert [lane.environments[0] for lane in found] == sorted(some, key=lambda one: (one.function, one.first))


def test_above_the_limit_only_faulty_environments_have_their_own_lane() -> None:
    """The faulty lane is the first, and the others share lanes with environments of similar age."""
    many = [environment(n) for n in range(lanes.MAX_ENVIRONMENTS + 1)]
    found = choose(many, {many[150].environment})
    assert [lane.is_single for lane in found] == [True] + [False] * (len(found) - 1)
    assert found[0].environments == (many[150],)
    assert len(found) - 1 <= lanes.MAX_PARTS
    starts = [lane.environments[0].first for lane in found[1:]]
    assert starts == sorted(starts)


def test_each_of_many_functions_has_one_shared_lane() -> None:
    """Four hundred functions are four hundred lanes, which the page can filter by name."""
    many = [environment(n, f"service-{n % 400:03d}") for n in range(1200)]
    found = choose(many, set())
    assert [lane.function for lane in found] == sorted({one.function for one in many})


def test_functions_above_the_limit_share_the_last_lane() -> None:
    """The busiest functions keep a lane of their own."""
    limit = lanes.MAX_FUNCTION_LANES
    many = [environment(n, f"service-{n:04d}", marks=20 if n >= 100 else 4) for n in range(limit + 100)]
    found = choose(many, set())
    assert len(found) == limit + 1
    assert found[-1].function == ""
    assert {one.function for one in found[-1].environments} == {f"service-{n:04d}" for n in range(100)}


def test_environments_with_too_many_marks_share_a_lane() -> None:
    """The number of marks limits the size of the file. A faulty environment keeps its lane longest."""
    heavy = [environment(n, marks=lanes.MAX_MARKS // 2) for n in range(5)]
    found = choose(heavy, {heavy[4].environment})
    single = [lane.environments[0] for lane in found if lane.is_single]
    assert single == [heavy[4], heavy[0]]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4000), st.booleans(), st.booleans()), max_size=450)
)
def test_limits_hold_for_any_environments(drawn: list[tuple[str, int, bool, bool]]) -> None:
    """Each environment is in exactly one lane, and no limit is exceeded."""
    some = [
        environment(n, function, marks=marks, failed=failed) for n, (function, marks, failed, _) in enumerate(drawn)
    ]
    faulty = {one.environment for one, (*_, is_faulty) in zip(some, drawn, strict=True) if is_faulty}
    found = choose(some, faulty)
    assert names(found) == Counter(one.environment for one in some)
    single = [lane.environments[0] for lane in found if lane.is_single]
    assert len(single) <= lanes.MAX_ENVIRONMENTS
    assert sum(one.objects + one.invocations for one in single) <= lanes.MAX_MARKS
    assert len(found) <= 2 * lanes.MAX_ENVIRONMENTS + lanes.MAX_FUNCTION_LANES + 1
