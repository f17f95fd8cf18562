"""Statistics of stories and rewrites."""
