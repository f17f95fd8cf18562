"""Trying prompts out: a preview, a grid, the studio; on the same asking as the stages."""
