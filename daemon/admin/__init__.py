"""Who may ask the running daemon by HTTP, and in which shapes. What is done then is decided in `control`."""
