"""From BabyLM's raw text to its emotional lines."""
