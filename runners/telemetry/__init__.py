"""What the server says about itself while it is under load."""
