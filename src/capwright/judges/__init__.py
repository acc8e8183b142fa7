"""Who is asked about texts and images: the protocols, and the language models behind them."""
