"""A lane's stream: the messages of the flow's topics, as Kafka holds them.

No `minPartitions`: it would split a Kafka partition over several tasks and lose the order inside it.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.decoding import MESSAGE
from pipelines.flow.model import Flow


def kafka_stream(session: SparkSession, flow: Flow, lane: str) -> DataFrame:
    """The flow's messages, columns of MESSAGE. Nothing is read before a query starts."""
    source = session.readStream.format("kafka").options(**flow.reader_options(lane)).option("includeHeaders", "true")
    return messages(source.load())


def messages(kafka: DataFrame) -> DataFrame:
    """Rows of Spark's Kafka source, headers included, stream or batch, as columns of MESSAGE."""
    return kafka.withColumnRenamed("timestamp", "kafka_timestamp").withColumn("headers", F.to_json("headers")).select(*MESSAGE)


__all__ = ["kafka_stream", "messages"]
