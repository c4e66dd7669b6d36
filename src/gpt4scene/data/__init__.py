"""Training rows and questions: from files to packs of tokens and pixels."""
