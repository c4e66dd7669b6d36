"""Fine-tuning on packs."""
