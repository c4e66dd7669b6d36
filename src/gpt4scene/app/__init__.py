"""Web page to look at scenes and ask questions."""
