"""The report: a run beside the published numbers on one page, two runs side by side, the export for a paper."""
