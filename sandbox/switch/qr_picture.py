"""Reads a QR out of a picture, where zxing-cpp and pillow are installed.

Owns the decoding only. Never required: without them the phone takes the QR's text.
"""

from __future__ import annotations

import io


class NoReaderError(Exception):
    """No QR reader is installed here."""


def read_qr(picture: bytes) -> str:
    """The QR's text, empty when there is none. Raises `NoReaderError`, `ValueError`."""
    try:
        import zxingcpp
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise NoReaderError("install zxing-cpp and pillow, or paste the QR's text") from error
    try:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError("that is no picture") from error
    found = zxingcpp.read_barcodes(image)
    return found[0].text if found else ""
