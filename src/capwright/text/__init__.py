"""Text as captions have it: words, names of a domain, and the tokenizers that metrics count with; no model."""
