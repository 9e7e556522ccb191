"""The stages of the loop, one function each: job and inputs to an artifact.

Each stage's module has a frozen job (all that it depends on besides its inputs) and ``run``. ``execute`` serves a stage from the
store, or runs and stores it.
"""
