"""From tables to pictures and pages. Nothing here imports torch."""
