"""Uploads waiting to be sent, kept on the stream MEDIA."""
