"""The page that people look at and decide on: what the operations answer, drawn for a browser. It decides nothing.

Each number on it comes from an operation's answer, each action is an operation. Who may look is decided in `access`,
what is shown of an answer in `views`.
"""
