"""Benchmarks, a module each; ``emogap.bench`` knows them by name."""
