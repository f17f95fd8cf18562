"""What changed: answers, their emotion, grammar, the inside of the models, and the texts themselves."""
