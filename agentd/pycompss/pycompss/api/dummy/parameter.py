"""The specifications of parameters, which mean nothing to tasks without effect."""

from pycompss.api.parameter import *  # noqa: F403 - all of them, under the same names
