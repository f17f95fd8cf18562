"""What leaves a home: data sets with their cards, and the one way files go into a folder of the user's."""
