"""Skills: prompts with the answers that their owner expects. Here is decided what such a file says, and what is right.

No model is asked here, and no torch is needed: `learner.evaluation.skills` asks.
"""
