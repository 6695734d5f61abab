"""The swarm node: runs WhatsApp sessions on one machine and answers commands for them."""
