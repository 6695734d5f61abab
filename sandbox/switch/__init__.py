"""The switch: accounts, linked devices, queues, receipts and the log of a local WhatsApp."""
