"""The browser engine: WhatsApp Web with wa-js in Chromium, driven by Playwright."""
