"""Stories and factual text compiled to a corpus, with a log of what is in it."""
