"""From raw text to the corpus: reading, cleaning, classifying, compiling."""
