"""HTTP/1.1 client without dependencies on a service: connections, TLS, proxies, messages of failures."""
