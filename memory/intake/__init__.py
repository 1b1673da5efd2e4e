"""What each arriving record becomes: fresh, held out, a duplicate, a dead letter, a gap. Nothing is drawn here."""
