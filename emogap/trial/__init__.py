"""Trying prompts out: a preview, a grid, the studio; they ask the model by the same code as the stages."""
