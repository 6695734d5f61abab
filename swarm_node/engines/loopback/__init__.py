"""The engine without a browser: speaks to the sandbox's switch directly."""
