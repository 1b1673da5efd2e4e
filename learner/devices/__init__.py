"""On what a round runs: device, number formats, cores, and the memory it takes there. Nothing of text or of models."""
