"""Functions are declared once, by name where they have one, by value where they must be, and never without bound."""

from __future__ import annotations

import functools
import pickle
import sys

import pytest

from agentd.api.calls import catalogue as module
from agentd.api.calls.catalogue import Catalogue, name_of
from agentd.model.errors import RequestError
from agentd.model.task import Form, Template

OPTIONS = Template(function="", timeout_s=5.0, durable=True)


def double(x):
    return 2 * x


def _private(x):
    return x


class Adder:
    def __init__(self, n):
        self.n = n

    def add(self, x):
        return self.n + x


def test_a_public_function_of_a_users_module_goes_by_name():
    """The agent may have the module; then nothing of the code travels."""
    catalogue = Catalogue(OPTIONS)
    entry = catalogue.entry(double)
    template = catalogue.template(entry.number)
    assert (template.function, template.form, template.code) == (f"{__name__}:double", Form.NAME, b"")
    assert (template.timeout_s, template.durable) == (5.0, True)


def test_each_function_is_declared_once_for_each_form():
    """Asking again gives the same number; a chunk of calls is another template."""
    catalogue = Catalogue(OPTIONS)
    numbers = {catalogue.entry(double).number for _ in range(5)}
    chunk = catalogue.entry(double, is_chunk=True)
    assert len(numbers) == 1
    assert chunk.number not in numbers
    assert catalogue.template(chunk.number).form is Form.CHUNK
    assert len(catalogue.templates) == 2


@pytest.mark.parametrize("function", [lambda x: x, _private, len, int, sorted])
def test_what_has_no_name_of_a_users_module_goes_by_value(function):
    """Lambdas, private functions and what is built in travel as a pickle that gives them back."""
    catalogue = Catalogue(OPTIONS)
    template = catalogue.template(catalogue.entry(function).number)
    assert template.form is Form.VALUE
    assert callable(pickle.loads(template.code))


def test_a_name_that_means_something_else_is_no_name():
    """A function that was replaced in its module, or is nested, is not sent by a name that would find another."""
    replaced = type(double)(double.__code__, {}, "double")
    replaced.__module__ = __name__
    assert name_of(double) == f"{__name__}:double"
    assert name_of(replaced) == ""
    assert name_of(Adder(1).add) == ""
    assert name_of(Adder.add) == ""


@pytest.mark.parametrize("callable_", [Adder(1).add, functools.partial(double, 2), Adder(1).__class__(2).add])
def test_callables_with_a_state_travel_with_each_call(callable_):
    """Their state may change between two calls, so they are arguments; one template serves them all."""
    catalogue = Catalogue(OPTIONS)
    first, second = catalogue.entry(callable_), catalogue.entry(functools.partial(double, 3))
    assert first.is_carried
    assert first == second
    assert pickle.loads(catalogue.template(first.number).code)(double, 4) == 8


def test_callables_without_a_hash_are_carried_too():
    """An instance that compares by value is still callable."""

    class Unhashable:
        __hash__ = None

        def __call__(self):
            return 1

    assert Catalogue(OPTIONS).entry(Unhashable()).is_carried


def test_what_cannot_be_called_is_refused_at_once():
    """The error is where the mistake is."""
    with pytest.raises(TypeError, match="cannot be called"):
        Catalogue(OPTIONS).entry(3)


def test_a_name_that_the_agent_refuses_is_replaced_by_the_code_once():
    """All calls of the function then use the new number, and their arguments bring their classes along."""
    catalogue = Catalogue(OPTIONS)
    by_name = catalogue.entry(double).number
    by_value = catalogue.by_value_instead(by_name)
    assert catalogue.by_value_instead(by_name) == by_value
    assert catalogue.template(by_value).form is Form.VALUE
    assert catalogue.entry(double) == (by_value, False, True)
    assert catalogue.by_value_instead(by_value) is None


def test_a_chunk_by_value_stays_a_chunk():
    """The form says how the payload is read; the code says where the function is."""
    catalogue = Catalogue(OPTIONS)
    number = catalogue.by_value_instead(catalogue.entry(double, is_chunk=True).number)
    template = catalogue.template(number)
    assert template.form is Form.CHUNK
    assert template.code


def test_arguments_go_by_value_after_a_worker_could_not_read_them():
    """One failure is enough to learn from."""
    catalogue = Catalogue(OPTIONS)
    entry = catalogue.entry(double)
    assert not entry.by_value
    catalogue.send_arguments_by_value(entry.number)
    assert catalogue.entry(double).by_value


def test_a_program_that_makes_functions_without_end_does_not_fill_the_agent(monkeypatch):
    """Beyond the bound functions travel with their calls; those that were declared stay so."""
    monkeypatch.setattr(module, "MOST_FUNCTIONS", 4)
    catalogue = Catalogue(OPTIONS)
    known = [catalogue.entry(function) for function in (double, len, int, sorted)]
    later = {catalogue.entry(lambda x, n=n: x + n) for n in range(50)}
    assert len(later) == 1
    assert later.pop().is_carried
    assert catalogue.entry(double) == known[0]
    assert len(catalogue.templates) == 5


def test_code_for_another_python_is_refused_with_what_to_do():
    """By value needs the same minor version; a name needs nothing."""
    catalogue = Catalogue(OPTIONS, agent_python=(sys.version_info[0], sys.version_info[1] + 1))
    assert catalogue.template(catalogue.entry(double).number).code == b""
    with pytest.raises(RequestError, match="--pythonpath"):
        catalogue.entry(lambda x: x)
    assert catalogue.by_value_instead(catalogue.entry(double).number) is None


def test_a_function_that_drags_too_much_along_is_refused(monkeypatch):
    """What a function closes over would not fit into a frame: the error says to make it an argument."""
    monkeypatch.setattr(module, "LARGEST_INLINE_BYTES", 10_000)
    burden = b"x" * 20_000
    with pytest.raises(ValueError, match="as arguments"):
        Catalogue(OPTIONS).entry(lambda: burden)
