"""What only those who maintain the project run: benchmarks, training of the shipped classifiers, making of word lists.

It lies beside the package, not in it: the package needs none of it at run time, and an installed wheel holds none of
it. ``emogap bench``, ``emogap train-classifier`` and ``emogap emotion-words`` lead here.
"""
