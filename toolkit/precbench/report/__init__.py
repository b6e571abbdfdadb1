"""Results for people: terminal tables and sentences. Nothing is computed here that is not in the record."""
