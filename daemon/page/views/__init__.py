"""What of an operation's answer is shown, and in which words: frozen, pure, without HTML."""
