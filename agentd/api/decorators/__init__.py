"""The decorators of the programming model; each gives a plain function that carries a `TaskDefinition`.

Law: standard library only; nothing is imported, started or read when a function is decorated.
"""
