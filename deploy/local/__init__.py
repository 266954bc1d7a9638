"""The local stack: a real Kafka broker and an embedded Aerospike node as background processes."""
