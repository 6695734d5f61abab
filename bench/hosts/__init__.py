"""Hosts made on this one machine: namespaces with a systemd and an sshd of their own."""
