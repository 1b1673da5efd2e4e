"""What is kept: the durable store, what enters it, what is drawn from it, the ledger of rounds and generations."""
