"""Benchmark the correct-then-adapt loop of AdCorDA over attack and adapter plugins."""

__version__ = "0.1.0"
