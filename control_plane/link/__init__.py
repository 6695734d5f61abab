"""The link page, on which an end user scans the QR."""
