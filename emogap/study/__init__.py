"""The whole study: its stages as data, running them, where a run stands, what it would cost."""
