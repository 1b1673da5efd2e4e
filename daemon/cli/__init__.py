"""What a person types and sees: commands, and facts as tables. Nothing is decided here that a script would need too."""
