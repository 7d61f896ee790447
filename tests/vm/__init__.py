"""A virtual machine for tests, and the tests that want one."""
