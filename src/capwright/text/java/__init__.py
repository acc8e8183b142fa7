"""What is measured by Java programs that the user installs: METEOR, SPICE, and the original PTB tokenizer.

Nothing of these programs is part of capwright. Where they are missing, a scorer says "not installed: ..." and how to
get them; everything else works without Java.
"""
