"""What an agent calls its data directory and what lies in it. Whoever looks for something of an agent finds it by these names."""

from __future__ import annotations

from typing import Final

DATA: Final = ".setpoint"
"""The data directory, beside the config, where no other is named."""
STORE: Final = "store.sqlite"
BROKER: Final = "broker.sqlite"
"""The embedded log of the namespace."""
KAFKA_INDEX: Final = "kafka-index.sqlite"
"""The last values of a namespace on Kafka."""
REDPANDA: Final = "redpanda"
"""Config and data of a Redpanda that the agent runs."""
BENTHOS: Final = "benthos"
"""Files and ports of the flows that run on Benthos."""
PROCESSES: Final = "processes"
RUNS: Final = "runs.sqlite"
"""The runs of the data runtime."""
LAST_GOOD: Final = "last-good.yaml"
"""The configuration in force."""
FLIGHT: Final = "flight"
"""The folder of the flight recording."""
LETTERS: Final = "dead-letters"
"""Some of the messages that flows could not handle, a file for each flow."""
