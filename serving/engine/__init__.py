"""Forward passes of one generation: completions and classifications, batched. Nothing of HTTP."""
