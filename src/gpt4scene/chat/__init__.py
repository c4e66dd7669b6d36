"""Questions of people about prepared scenes: in a browser, and one at a time on the command line."""
