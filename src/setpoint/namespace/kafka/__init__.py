"""The namespace on a Kafka log: the broker of `setpoint.namespace`, kept by Apache Kafka or Redpanda. See `broker`."""
