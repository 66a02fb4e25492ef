"""Find out from a file how strongly a picture or film was compressed."""
