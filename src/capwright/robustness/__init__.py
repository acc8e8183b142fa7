"""How scores behave under attack."""
