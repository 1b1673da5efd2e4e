"""People's assistants (Model Context Protocol): what they may ask for, and what a person has to confirm."""
