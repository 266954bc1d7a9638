"""Is the copy right? Source, mirror and history compared record by record, and every Kafka offset accounted for."""
