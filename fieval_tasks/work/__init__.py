"""One run at work: what is sent, asked about, sent again or given up."""
