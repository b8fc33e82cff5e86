"""Fine-tuning: from a shop's question-answer pairs to what the bot serves."""
