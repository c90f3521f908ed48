"""`logferry report`: one HTML file that shows what a destination holds, without network access."""
