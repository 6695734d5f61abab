"""The sandbox: a stand-in for WhatsApp (page, switch and phone) that runs on loopback."""
