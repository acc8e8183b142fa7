"""From logits to captions: sampling, and the key-value cache it reads from."""
