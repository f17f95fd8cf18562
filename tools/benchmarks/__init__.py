"""Benchmarks, one module each; ``tools.bench`` knows them by name."""
