"""How strongly a picture or film was compressed, from what its file says."""
