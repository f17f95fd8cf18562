"""Benchmarks that score texts: minimal pairs (BLiMP) and questions on emotions (EmoBench)."""
