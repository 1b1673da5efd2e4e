"""Who may look at the page: signing in with the admin token, sessions, forms that nobody else can have filled in."""
