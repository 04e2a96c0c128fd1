"""Schedulers by name: short ones however spelled, the field's class names, modules, and what is wrong with the rest."""

from __future__ import annotations

import pytest

from schedulers.data import Data
from schedulers.fifo import Fifo
from schedulers.fifo_data import FifoData
from schedulers.lifo import Lifo
from schedulers.load_balancing import LoadBalancing
from schedulers.loading import COMPSS, COMPSS_NAMES, DEFAULT, SPELLED, UnknownScheduler, is_own, load, resolve
from schedulers.ready import Ready


@pytest.mark.parametrize("name", ["load-balancing", "LoadBalancing", "load_balancing", "LOADBALANCING", DEFAULT])
def test_case_dashes_and_underscores_do_not_matter(name: str) -> None:
    """A name is the same however it is spelled."""
    assert isinstance(load(name), LoadBalancing)


@pytest.mark.parametrize("name", COMPSS_NAMES)
def test_every_class_name_of_the_field_stands_for_one_of_ours(name: str) -> None:
    """Scripts that name the field's schedulers keep working."""
    assert type(load(COMPSS + name)) in {Data, Fifo, FifoData, Lifo, LoadBalancing, Ready}


def test_a_module_and_class_is_taken_as_it_is() -> None:
    """Users bring their own."""
    assert isinstance(load("schedulers.lifo:Lifo"), Lifo)


def test_plug_ins_have_short_names_too() -> None:
    """An installed package adds names."""
    assert resolve("my-own", {"My_Own": "somewhere:Own"}) == "somewhere:Own"


def test_a_plug_in_does_not_hide_one_of_ours() -> None:
    """What is documented means what is documented."""
    assert isinstance(load("fifo", {"fifo": "schedulers.lifo:Lifo"}), Fifo)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fastest", "use one of fifo, fifo-data, lifo, ready, load-balancing, data, or"),
        (COMPSS + "unheard.Of", "unknown scheduler"),
        ("no.such.module:Class", "cannot make"),
        ("schedulers.fifo:Nothing", "cannot make"),
        ("schedulers.capacity:Kind", "cannot make"),
        ("builtins:dict", "no method plan"),
    ],
)
def test_what_cannot_be_used_says_why(name: str, words: str) -> None:
    """The message says what to do."""
    with pytest.raises(UnknownScheduler, match=words):
        load(name)


@pytest.mark.parametrize("name", SPELLED)
def test_every_short_name_is_one_of_ours(name: str) -> None:
    """What the message lists can be used, and needs no look at installed packages."""
    assert is_own(name)
    assert callable(load(name).plan)


def test_a_scheduler_takes_its_settings() -> None:
    """A price that is configured is the price that is used."""
    made = load("load-balancing", configuration={"alpha": 1.0, "beta": 2})
    assert isinstance(made, LoadBalancing)
    assert (made.alpha, made.beta) == (1.0, 2)


@pytest.mark.parametrize(
    ("name", "configuration", "words"),
    [
        ("load-balancing", {"gamma": 1.0}, "no setting 'gamma': it takes alpha, beta, patience_s, heavy"),
        ("load-balancing", {"alpha": "much"}, "alpha is 'much', write a number"),
        ("data", {"alpha": -1.0}, "write a number from 0 on"),
        ("fifo", {"alpha": 1.0}, "it takes no settings"),
    ],
)
def test_settings_that_it_does_not_take_are_refused(name: str, configuration: dict[str, object], words: str) -> None:
    """The message says which settings there are."""
    with pytest.raises(UnknownScheduler, match=words):
        load(name, configuration=configuration)


def test_the_message_names_each_scheduler_once() -> None:
    """Also where an installed package declares one of ours as an entry point."""
    with pytest.raises(
        UnknownScheduler, match=r"use one of fifo, fifo-data, lifo, ready, load-balancing, data, mine, or"
    ):
        load("fastest", {"fifo": "schedulers.fifo:Fifo", "mine": "somewhere:Mine", "load-balancing": "x:Y"})
