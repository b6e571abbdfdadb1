"""A study from its file to its results, and what single commands share with it."""
