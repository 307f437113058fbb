"""What a load costs: every line of AWS' bill, and what the same load would cost otherwise."""
