"""What tests share: Spark sessions, encoders, oracles."""
