"""Texts: reading files of any form, words, near-duplicates."""
