"""The evaluation of Deep Research: questions over a fixed corpus, and what each way of answering them is worth."""
