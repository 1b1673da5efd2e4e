"""Two generations answer one prompt, one pair at a time: whether there is room, and when it is told whose an answer is.

Prompts and answers are kept in this process's memory alone, a few of them, for an hour.
"""
