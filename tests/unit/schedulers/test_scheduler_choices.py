"""What each scheduler chooses, in small situations that say why."""

from __future__ import annotations

from schedulers.capacity import cores
from schedulers.conformance import Host, PlainView, Row, check
from schedulers.data import Data
from schedulers.fifo import Fifo
from schedulers.fifo_data import FifoData
from schedulers.lifo import Lifo
from schedulers.load_balancing import LOOK, LoadBalancing
from schedulers.ready import Ready
from schedulers.view import Held, Keep


def placed(view: PlainView) -> list[int]:
    """Number the tasks that were placed."""
    return [task.id for task in view._tasks if task.is_placed]


def test_fifo_prefers_this_agent_then_neighbours_as_added() -> None:
    """Idle here, then the first neighbour with room."""
    view = PlainView(Host("own", 1), [Host("n0", 1), Host("n1", 1)], [Row(number, str(number)) for number in range(4)])
    assert check(Fifo(), view) == []
    assert (view.own.busy, [host.busy for host in view.neighbours], placed(view)) == (1, [1, 1], [0, 1, 2])


def test_fifo_steps_over_what_nobody_could_ever_run() -> None:
    """A task too large for all hosts blocks nothing."""
    view = PlainView(Host("own", 1), [], [Row(0, "huge", demand=cores(9)), Row(1, "small")])
    check(Fifo(), view)
    assert placed(view) == [1]


def test_fifo_waits_for_room_for_its_head() -> None:
    """A task that fits later is not overtaken."""
    view = PlainView(Host("own", 2, busy=1), [], [Row(0, "wide", demand=cores(2)), Row(1, "small")])
    check(Fifo(), view)
    assert placed(view) == []


def test_lifo_takes_the_newest_and_steps_over() -> None:
    """What is fresh is served at once."""
    view = PlainView(Host("own", 1), [], [Row(0, "a"), Row(1, "b"), Row(2, "wide", demand=cores(2))])
    check(Lifo(), view)
    assert placed(view) == [1]


def test_load_balancing_goes_to_the_faster_and_stays_where_it_is_near() -> None:
    """A long task is worth the way to a fast neighbour, a short one is not."""
    for seconds, forwarded in ((10.0, 1), (0.001, 0)):
        view = PlainView(Host("own", 1), [Host("n0", 4, speed=4.0, latency_s=0.05)], [Row(0, estimate_s=seconds)])
        check(LoadBalancing(), view)
        assert view.neighbours[0].busy == forwarded


def test_load_balancing_counts_bytes_on_the_way() -> None:
    """Many bytes on a slow link keep a task here."""
    neighbour = Host("n0", 4, speed=4.0, seconds_per_byte=1e-6)
    view = PlainView(Host("own", 1), [neighbour], [Row(0, estimate_s=1.0, transfer_bytes=10**7)])
    check(LoadBalancing(), view)
    assert (view.own.busy, neighbour.busy) == (1, 0)


def test_load_balancing_leaves_what_is_sooner_done_here() -> None:
    """Nothing is placed when both are full; what finds room behind another may stay."""
    view = PlainView(Host("own", 1, busy=1), [Host("n0", 1, busy=1)], [Row(0, estimate_s=0.1)])
    check(LoadBalancing(), view)
    assert placed(view) == []


def test_load_balancing_alone_fills_its_own_cores() -> None:
    """Without neighbours there is nothing to weigh."""
    view = PlainView(Host("own", 2), [], [Row(number) for number in range(3)])
    check(LoadBalancing(), view)
    assert placed(view) == [0, 1]


def test_load_balancing_looks_past_a_blocked_head_but_not_for_ever() -> None:
    """Some kinds of tasks may be stepped over, not all that wait."""
    blocked = [Row(number, f"wide{number}", demand=cores(2)) for number in range(LOOK)]
    view = PlainView(Host("own", 2, busy=1), [], [*blocked[:-1], Row(99, "small")])
    check(LoadBalancing(), view)
    assert placed(view) == [99]
    view = PlainView(Host("own", 2, busy=1), [], [*blocked, Row(99, "small")])
    check(LoadBalancing(), view)
    assert placed(view) == []


def test_a_task_that_only_a_neighbour_can_host_goes_there() -> None:
    """An infinite wait here makes any neighbour better."""
    view = PlainView(Host("own", 0), [Host("n0", 1, latency_s=5.0)], [Row(0, estimate_s=0.01)])
    check(LoadBalancing(), view)
    assert view.neighbours[0].busy == 1


def busy_with(view: PlainView) -> list[int]:
    """Units in use: here, then at each neighbour."""
    return [view.own.busy, *(host.busy for host in view.neighbours)]


def test_fifo_data_goes_to_who_holds_most() -> None:
    """Of the hosts with room, the one with the most bytes; without inputs it is fifo."""
    inputs = (Held(None, 10), Held("n0", 10), Held("n1", 30), Held("n1", 5))
    view = PlainView(Host("own", 1), [Host("n0", 1), Host("n1", 1)], [Row(0, places=inputs), Row(1, "plain")])
    check(FifoData(), view)
    assert busy_with(view) == [1, 0, 1]


def test_fifo_data_takes_the_first_host_when_holders_are_full() -> None:
    """A full holder does not hold the queue up."""
    view = PlainView(Host("own", 1), [Host("n0", 1, busy=1)], [Row(0, places=(Held("n0", 99),))])
    check(FifoData(), view)
    assert busy_with(view) == [1, 1]


def test_fifo_data_is_never_overtaken() -> None:
    """The head waits for room, and all behind it."""
    tasks = [Row(0, "wide", demand=cores(2)), Row(1, places=(Held(None, 9),))]
    view = PlainView(Host("own", 2, busy=1), [], tasks)
    check(FifoData(), view)
    assert placed(view) == []


def test_ready_ranks_bytes_before_speed_and_here_before_there() -> None:
    """Data first, then the shortest wait, then speed; a tie stays here."""
    fast = Host("n1", 4, speed=4.0)
    view = PlainView(Host("own", 4), [Host("n0", 1), fast], [Row(0, places=(Held("n0", 1),)), Row(1, "plain")])
    check(Ready(), view)
    assert busy_with(view) == [0, 1, 1]
    view = PlainView(Host("own", 4), [Host("n0", 4)], [Row(0)])
    check(Ready(), view)
    assert busy_with(view) == [1, 0]


def test_ready_steps_over_what_finds_no_room() -> None:
    """A small task overtakes a large one."""
    view = PlainView(Host("own", 2, busy=1), [], [Row(0, "wide", demand=cores(2)), Row(1, "small")])
    check(Ready(), view)
    assert placed(view) == [1]


def test_heavy_inputs_draw_a_task_to_their_holder() -> None:
    """A near and fast core is not worth the bytes."""
    slow = Host("n0", 4, speed=0.5, seconds_per_byte=1e-7)
    task = Row(0, estimate_s=0.1, places=(Held("n0", 10**7),))
    view = PlainView(Host("own", 4, speed=4.0), [slow], [task])
    check(LoadBalancing(), view)
    assert busy_with(view) == [0, 1]


def test_light_inputs_do_not() -> None:
    """What is quickly moved is moved; the data-aware scheduler still asks the holder first."""
    for scheduler, expected in ((LoadBalancing(), [1, 0]), (Data(), [0, 1])):
        slow = Host("n0", 4, speed=0.9, seconds_per_byte=1e-8)
        task = Row(0, estimate_s=10.0, places=(Held("n0", 10**3),))
        view = PlainView(Host("own", 4, speed=4.0), [slow], [task])
        check(scheduler, view)
        assert busy_with(view) == expected


def test_a_task_waits_for_a_short_while_where_its_data_is() -> None:
    """A core that is soon free beside the data is better than a free one far from it, and the owner is told."""
    far = Host("n0", 4, seconds_per_byte=1e-6)
    task = Row(0, estimate_s=0.1, places=(Held(None, 10**7),))
    view = PlainView(Host("own", 1, busy=1), [far], [task])
    (decision,) = LoadBalancing().plan(view)
    assert decision == Keep(task, "its data is here, and a core soon will be")


def test_it_does_not_wait_for_ever() -> None:
    """A holder with a long queue is left; every byte is priced then."""
    near = Host("n0", 4, seconds_per_byte=1e-9)
    task = Row(0, estimate_s=0.1, places=(Held(None, 10**7),))
    view = PlainView(Host("own", 1, busy=100), [near], [task])
    check(LoadBalancing(), view)
    assert busy_with(view) == [100, 1]


def test_a_holder_that_is_gone_is_no_host() -> None:
    """Data beyond a neighbour that nobody knows any more counts as nowhere."""
    view = PlainView(Host("own", 1), [Host("n0", 1)], [Row(0, places=(Held("gone", 10**9),))])
    assert check(Data(), view) == []
    assert placed(view) == [0]
