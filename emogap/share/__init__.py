"""What leaves a home: data sets with their cards, and the one way to write files into a folder of the user's."""
