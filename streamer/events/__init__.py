"""What happened in the house, in one order: rows written with the change they tell of, numbered once they are committed."""
