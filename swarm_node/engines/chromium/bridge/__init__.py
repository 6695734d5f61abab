"""The bridge into the page: our JavaScript, the calls through it and the events out of it.

Everything that has a wa-js name lives in this folder and nowhere else.
"""
