"""Everything that lets a language model write: prompts, engines, stories, rewrites, checks of the replies."""
