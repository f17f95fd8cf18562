"""Fine-tuning: causal language modelling, supervised fine-tuning, and what is trained from what."""
