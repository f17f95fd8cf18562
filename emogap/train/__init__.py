"""Fine-tuning: causal language modelling, supervised fine-tuning, and the strategies that say what is trained from what."""
