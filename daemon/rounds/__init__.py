"""When a round begins, what it is given, and what follows from the gate's word. Nothing is trained or judged here."""
