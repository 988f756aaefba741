"""What may be wrong with a flow's configuration, and how it is said."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

Path = tuple[str | int, ...]


class FlowProblem(NamedTuple):
    """One fault of a configuration: the keys that lead to it, what is wrong, and what may have been meant."""

    path: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.path)
        return f"{where or '(top)'}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class FlowConfigError(ValueError):
    """The configuration is not one of a flow: `problems` lists every fault with the path to it."""

    def __init__(self, problems: Iterable[FlowProblem]) -> None:
        self.problems = list(problems)
        super().__init__(
            "the flow's configuration is not valid:\n" + "\n".join(f"  - {problem}" for problem in self.problems)
        )


def unknown(path: Path, name: object, what: str, known: Iterable[str]) -> FlowProblem:
    """The fault of a name that is not known, with the one that was probably meant; Benthos may know it."""
    names = list(known)
    if name in BENTHOS.get(what, ()):
        return FlowProblem(path, f"the {what} {name!r} is one of Benthos, not of Setpoint", "`engine: benthos` runs it")
    near = difflib.get_close_matches(str(name), [*names, *BENTHOS.get(what, ())], 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}" if names else ""
    return FlowProblem(path, f"unknown {what} {name!r}", hint)


def shown(value: object) -> str:
    """A value of the configuration, for people."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


BENTHOS: Final[dict[str, Collection[str]]] = {
    "input": """
        amqp_0_9 amqp_1 aws_kinesis aws_s3 aws_sqs azure_blob_storage azure_cosmosdb azure_queue_storage azure_table_storage batched
        beanstalkd broker cassandra cockroachdb_changefeed csv discord dynamic file_tail fsevent gcp_bigquery_select gcp_cloud_storage
        gcp_pubsub hdfs http_client http_server inproc kafka kafka_franz mongodb mongodb_cdc mysql_cdc nanomsg nats nats_jetstream nats_kv
        nats_stream nsq opcua parquet postgres_cdc pulsar read_until redis_list redis_pubsub redis_scan redis_streams redpanda resource
        s7comm schema_registry sensorconnect sequence sftp socket socket_server spicedb_watch splunk sparkplug_b sql_raw sql_select
        subprocess timeplus twitter_search unix_socket websocket zmq4 eip beckhoff_ads
    """.split(),  # noqa: SIM905  # a list of words is read as words
    "processor": """
        archive avro awk aws_bedrock_chat aws_bedrock_embeddings aws_dynamodb_partiql aws_lambda azure_cosmosdb bounds_check cache cached
        command compress couchbase crash decompress elasticsearch file for_each gcp_bigquery_select grok group_by
        group_by_value http insert_part jmespath jq json_schema metric mongodb msgpack nats_kv nats_request_reply
        openai_chat_completion openai_embeddings parallel parquet parquet_decode parquet_encode parse_log processors
        protobuf qdrant redis redis_script resource
        retry schema_registry_decode schema_registry_encode select_parts sentry_capture sleep split sql sql_insert sql_raw sql_select
        subprocess sync_response topic_browser wasm while workflow xml
    """.split(),  # noqa: SIM905
    "output": """
        amqp_0_9 amqp_1 aws_dynamodb aws_kinesis aws_kinesis_firehose aws_s3 aws_sns aws_sqs azure_blob_storage azure_cosmosdb
        azure_data_lake_gen2 azure_queue_storage azure_table_storage beanstalkd broker cache cassandra couchbase cypher discord drop_on
        dynamic elasticsearch elasticsearch_v2 fallback gcp_bigquery gcp_cloud_storage gcp_pubsub hdfs http_client http_server inproc
        kafka kafka_franz mongodb nanomsg nats nats_jetstream nats_kv nats_stream nsq opcua opensearch pinecone pulsar pusher qdrant questdb
        redis_hash redis_list redis_pubsub redis_streams redpanda reject reject_errored resource retry sftp snowflake_put
        snowflake_streaming socket splunk_hec sql sql_insert sql_raw subprocess switch sync_response timeplus websocket zmq4
    """.split(),  # noqa: SIM905
    "cache": "aws_dynamodb aws_s3 couchbase file gcp_cloud_storage lru memcached mongodb multilevel nats_kv  redis redpanda ristretto sql ttlru".split(),  # noqa: SIM905, E501
    "rate limit": ("redis",),
    "buffer": ("sqlite", "system_window"),
}
"""Components that Benthos has, by role, so that one of them is told apart from a mistake. Those that Setpoint has are asked first."""
