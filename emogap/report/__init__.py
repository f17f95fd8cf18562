"""The page: everything that was drawn, beside the published numbers."""
