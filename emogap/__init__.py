"""Emogap: emotional stories for small language models, from raw text to a measured difference."""

__version__ = "0.1.0"
