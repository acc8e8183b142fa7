"""How scores behave when somebody works against them."""
