"""One update round as a pure job: a round directory in, a candidate and a report out."""
