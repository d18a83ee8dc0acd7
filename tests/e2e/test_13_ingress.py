"""13. By host name through a real ingress controller, in clear, by TLS, and by the Gateway API."""
