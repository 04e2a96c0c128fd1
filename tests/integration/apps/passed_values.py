"""Tasks of a module that are given what a program defines: functions, classes, generators, and lists that grow."""

from pycompss.api.parameter import COLLECTION_INOUT, COLLECTION_OUT
from pycompss.api.task import task


@task(returns=1)
def applied(function, value):
    return function(value)


@task(returns=2)
def opened(thing):
    thing.value += 1
    return thing, type(thing).__name__


@task(returns=1)
def first_of(generator):
    return next(generator)


@task(returns=1)
def rest_of(generator):
    next(generator)
    return (one for one in generator)


@task(rows=COLLECTION_INOUT)
def grown(rows, value):
    for row in rows:
        row.append(value)


@task(rows=COLLECTION_OUT)
def filled(rows):
    for row in rows:
        row.extend([1, 2])
