"""Data sets from their homes, each file checked."""
