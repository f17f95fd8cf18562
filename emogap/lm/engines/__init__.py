"""Running a language model: conversations in, replies out, one for one and in the same order."""
