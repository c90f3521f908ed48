"""Values of settings by reference to SSM parameters and Secrets Manager. Imported only if a setting has a reference."""
