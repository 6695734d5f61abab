"""The command line: every `blazz` command, and the only place that joins the parts."""
