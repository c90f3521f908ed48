"""Platform events and function lines, from their source to the subscribers."""
