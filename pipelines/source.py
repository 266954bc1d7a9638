"""A lane's stream: Kafka messages of the flow's topics, decoded in the JVM, with what the flow takes marked.

No `minPartitions`: it would split a Kafka partition over several tasks and lose the order inside it.
"""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.flow.model import Flow
from pipelines.selection import with_selection
from schemas.xdr.decode import decode


def kafka_stream(session: SparkSession, flow: Flow, lane: str) -> DataFrame:
    """The messages as Spark's Kafka source gives them, headers included. Nothing is read before a query starts."""
    return session.readStream.format("kafka").options(**flow.reader_options(lane)).option("includeHeaders", "true").load()


def decoded(messages: DataFrame, flow: Flow) -> DataFrame:
    """Kafka messages as events (schemas.events), with `selected`, and `headers` where the messages have them.

    Stream or batch, one row for one row. Headers matter to dead letters only, so the decoder knows nothing of them: they travel
    beside the Kafka key, which it hands through untouched.
    """
    if "headers" not in messages.columns:
        return with_selection(decode(messages, flow.decode_options()), flow.records)
    carried = messages.withColumn("key", F.struct("key", "headers"))
    rows = decode(carried, flow.decode_options())
    return with_selection(rows.withColumns({"headers": F.col("key.headers"), "key": F.col("key.key")}), flow.records)


__all__ = ["decoded", "kafka_stream"]
