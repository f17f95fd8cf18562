"""Language models: where they come from, how one is loaded, what it says of a text."""
