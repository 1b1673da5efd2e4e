"""What the ledger keeps of skills: which prompts each generation answered rightly."""
