"""From what retrieval found to an answer: compose the prompt, read, cite, check, or abstain."""
