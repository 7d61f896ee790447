"""The tests: see CONTRIBUTING.md for what lies where. A package, so that no installed ``tests`` takes its name."""
