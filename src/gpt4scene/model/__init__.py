"""Loading, tuning and calling the vision-language model on packs."""
