"""Which of the 28 emotions a text shows: the classifiers, and scoring many texts with them."""
