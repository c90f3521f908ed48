"""Records of the platform, the function and the extensions, from their source to the subscribers."""
