"""What an experiment tracker is told of rounds that have ended, by whom it is asked to; nothing here runs by itself."""
