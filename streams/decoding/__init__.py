"""From bytes to a document, or the reason why not. Nothing is fetched or kept here."""
