"""The rules, a file for each subject; every Rule in a module here is found by itself."""
