"""Inside the models: the logit lens and the emotion lens."""
