"""What the models answer, which emotion it shows, and whether it is still good language."""
