"""What an instruction model writes: stories from emotional lines, rewrites of Alpaca answers; asked, checked, kept."""
