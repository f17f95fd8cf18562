"""Benchmarks, a module each; ``tools.bench`` knows them by name."""
