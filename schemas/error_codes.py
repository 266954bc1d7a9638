"""Every error code, once: the source of docs/errors.md and of the remedies printed with an error.

A code is never reused for another meaning. Keep the entries sorted by code.
"""

from typing import NamedTuple


class ErrorKind(NamedTuple):
    """One entry of the catalogue. `meaning` says when it is raised, `remedy` what a person does about it."""

    code: str
    title: str
    meaning: str
    remedy: str


_KINDS = (
    ErrorKind(
        "E100",
        "Flow file cannot be read",
        "The flow file does not exist, cannot be opened, or is not YAML.",
        "Check the path and the place named; the parser's line and column are in the message.",
    ),
    ErrorKind(
        "E101",
        "Flow is not valid",
        "One or more options of the flow are unknown, missing, of the wrong type or contradict each other.",
        "Mend every line named. `millrace validate FLOW` lists all problems at once and starts nothing.",
    ),
    ErrorKind(
        "E102",
        "Fail point is not valid",
        "The file that `MILLRACE_FAILPOINTS` names has a line that is no fail point of this flow: the point is unknown, or the "
        "action cannot be done there. Nothing was started.",
        "Mend the line named, or unset `MILLRACE_FAILPOINTS`. docs/drills.md lists points and actions.",
    ),
    ErrorKind(
        "E110",
        "Something Millrace needs is missing",
        "Java, Maven, a jar or a Python package is absent or of the wrong version.",
        "Run `make setup`; `millrace doctor` shows what is found and what is not.",
    ),
    ErrorKind(
        "E120",
        "Aerospike sink cannot be used as configured",
        "The check before the first write failed: namespace unknown, expiry not enabled, rights missing, or similar.",
        "Change the option or the server setting named in the message.",
    ),
    ErrorKind(
        "E121",
        "Delta table cannot be used as configured",
        "The table's path holds something that is not a Delta table, or one whose columns, partitions or properties do not fit.",
        "Name another path, or change the table or the flow as the message says. Nothing was written. Where a bin's type has "
        "changed in the source, declare the type the table has and set `policies.type_change` to rescue or widen.",
    ),
    ErrorKind(
        "E124",
        "Counters belong to another checkpoint",
        "The namespace holds batches this output counted from another checkpoint; messages read again would count twice.",
        "Start from the checkpoint that counted, or give the output another set and count anew. With --adopt-tables the flow "
        "counts on from where its checkpoint begins, on top of what is there.",
    ),
    ErrorKind(
        "E125",
        "Counted batches are missing",
        "The checkpoint has counted batches the namespace does not know of: it was emptied, set back, or is another.",
        "Bring the namespace back as it was, or start with a new checkpoint and an empty set: all that is still in Kafka is "
        "counted anew. With --adopt-tables the flow goes on without what is missing.",
    ),
    ErrorKind(
        "E126",
        "Counters are ahead of the checkpoint",
        "A later batch of the same checkpoint has been begun, or records hold this batch with other events than it has now: the "
        "checkpoint was set back, a second driver has run, or the flow or its registry changed in the middle of a batch.",
        "Bring back the newest checkpoint, or the flow as it was. With --adopt-tables a batch that was cut leaves records it had "
        "changed as they are. A set-back checkpoint cannot be used: start with a new one and an empty set.",
    ),
    ErrorKind(
        "E140",
        "Local server did not start",
        "A process of the local stack ended or did not answer in time after it was started.",
        "Read its log: `millrace local logs`. `millrace local down --purge` gives up its data and starts over.",
    ),
    ErrorKind(
        "E141",
        "Port taken",
        "A port that a local server is to use is held by another process.",
        "End that process, or choose another port; see `millrace local up --help`.",
    ),
    ErrorKind(
        "E142",
        "Local stack is not running",
        "The command needs the local stack, or a part of it, and it does not run.",
        "Start it with `millrace local up`.",
    ),
    ErrorKind(
        "E143",
        "Change emission of the embedded node is not valid",
        "An option of `--xdr` is unknown, missing, given twice or out of range, or names a namespace the node does not have.",
        "Mend the option named in the message; docs/embedded-node.md lists them.",
    ),
    ErrorKind(
        "E144",
        "Fault cannot be set",
        "The embedded node does not know the fault or an option of it, or did not answer.",
        "Mend what the message names; `millrace local fault --help` and docs/embedded-node.md list faults and options.",
    ),
    ErrorKind(
        "E145",
        "Workload cannot be written",
        "An option of `millrace simulate` is not valid, or the server refused an operation that repeating cannot help.",
        "Mend what the message names. The namespace must exist and let records expire (nsup-period above 0).",
    ),
    ErrorKind(
        "E150",
        "Kafka topic does not exist",
        "A topic the flow names is not known to the brokers; nothing was read from it so far.",
        "Check the name and the brokers; create the topic, or start the shipper that creates it.",
    ),
    ErrorKind(
        "E151",
        "Kafka refuses us",
        "The brokers refuse the login, the certificate, or the right to describe a topic.",
        "Check source.options (security.protocol, SASL, TLS); the user needs the right to describe and read the topics.",
    ),
    ErrorKind(
        "E152",
        "Schema registry refuses us",
        "It refuses the login or the certificate, its own certificate is not trusted, or a file for TLS cannot be used.",
        "Check credentials and files of source.registry, and the user's right to read schemas. `millrace doctor FLOW` asks.",
    ),
    ErrorKind(
        "E153",
        "Schema registry refuses a schema",
        "A schema cannot be registered: it is not valid, or not compatible with the versions its subject has.",
        "Mend the schema, use another subject, or change the subject's compatibility rule in the registry.",
    ),
    ErrorKind(
        "E160",
        "Nothing to reconcile",
        "`millrace reconcile` found no two things of the flow to compare, or a table that was never written.",
        "Give the flow `reconcile.source` or a history beside its mirror, and run it first.",
    ),
    ErrorKind(
        "E161",
        "No such dead letter",
        "`millrace dead-letters` was given a letter's name, a time, a reason or an output that is not well formed or not there.",
        "`millrace dead-letters list FLOW` shows the letters with their names; `--help` says how times are written.",
    ),
    ErrorKind(
        "E210",
        "Aerospike not reachable",
        "No node answered, or the cluster answered that it cannot serve now. No event of the call was applied.",
        "The runner retries with back-off. Check the nodes, the network and `millrace doctor`.",
    ),
    ErrorKind(
        "E211",
        "Aerospike overloaded",
        "The cluster kept answering device overload, quota exceeded or key busy until the batch's deadline, or answered so when "
        "a start asked for the mirror's identity.",
        "The runner retries with back-off; writers probe with small calls until the cluster takes some. Add capacity, or see "
        "what else loads the cluster.",
    ),
    ErrorKind(
        "E212",
        "Aerospike slower than the batch",
        "The cluster took a part of what was sent, and the batch was not finished in `batch_timeout_s`. What was applied stays "
        "applied.",
        "The batch is repeated with twice the time, up to sixteen times. If it goes on: add capacity, or lower "
        "`max_offsets_per_trigger`, so that a batch is less work, or raise `batch_timeout_s`.",
    ),
    ErrorKind(
        "E220",
        "Kafka not reachable",
        "No broker answered a metadata request in time.",
        "The runner retries with back-off. Check bootstrap servers, network and credentials.",
    ),
    ErrorKind(
        "E221",
        "Schema registry not reachable",
        "No address of the registry answered in time, or only with errors that may pass. No message was given up for it.",
        "The runner retries with back-off. Check source.registry.urls (path included), the registry and `millrace doctor FLOW`.",
    ),
    ErrorKind(
        "E230",
        "Delta table not reachable",
        "The table's log could not be read or written: storage away, or another writer kept winning the commit.",
        "The runner retries with back-off. Check the storage; find other writers of the table with its history.",
    ),
    ErrorKind(
        "E240",
        "Query failed",
        "A lane's query ended with an error that is none of Millrace's own, more often than the flow's max_restarts allows.",
        "Look at the message and at the log before it; raise restart.max_restarts or leave it out to go on trying.",
    ),
    ErrorKind(
        "E241",
        "Spark is gone",
        "The JVM of the driver ended while lanes were running: killed, out of memory, or crashed.",
        "Start the flow again: it goes on where it was. Look for hs_err files and the kernel's log; raise spark.driver_memory.",
    ),
    ErrorKind(
        "E242",
        "Stopped in the middle of a batch",
        "A stop was asked for and a micro-batch was not done within the drain time, or a second signal came.",
        "Nothing is lost: the next start repeats the batch. Allow more time (--drain-timeout), or make batches smaller.",
    ),
    ErrorKind(
        "E243",
        "Driver gave no sign of life",
        "A worker saw no heartbeat of its driver for as long as the lease lasts, and wrote nothing more for it.",
        "The runner retries. If it comes again, the driver's machine pauses for seconds, or the checkpoint's storage stalls.",
    ),
    ErrorKind(
        "E310",
        "Aerospike write in doubt",
        "Writes timed out after they were sent and the batch's deadline passed before their outcome was known.",
        "Nothing to do: writes are guarded by version, the runner repeats the batch and the outcome settles.",
    ),
    ErrorKind(
        "E410",
        "Ledger does not balance",
        "In a batch, events in differ from applied + superseded + duplicate + dead, or more messages were read than there are.",
        "A defect: keep the checkpoint and the log, and report it with the batch named in the message.",
    ),
    ErrorKind(
        "E411",
        "Ledger lacks a batch or has one twice",
        "`millrace ledger --check`: batches of a lane do not follow each other, or an account is there twice.",
        "Find out who changed the tables: `DESCRIBE HISTORY` names every commit. Read the range again with a new checkpoint.",
    ),
    ErrorKind(
        "E412",
        "Offsets in the ledger do not join",
        "`millrace ledger --check`: a batch begins elsewhere than the one before ended, or holds more or fewer messages than its "
        "offsets say.",
        "Compare the offsets named with Spark's checkpoint of that batch; `millrace reconcile` says what is missing or wrong.",
    ),
    ErrorKind(
        "E413",
        "A table holds other than the ledger says",
        "`millrace ledger --check`: rows of the history, or dead letters, of a batch are not as many as its account says, stand "
        "there twice, or are not of its offsets.",
        "Find the commit that took or added rows with `DESCRIBE HISTORY`; a RESTORE to the version before it brings them back.",
    ),
    ErrorKind(
        "E414",
        "Events are older than the tombstone horizon",
        "Told while a flow runs: an event came later than deletes are remembered. If a delete of its record was forgotten "
        "meanwhile, the event has brought the record back.",
        "Reading old messages again? Then it is expected. Else raise `tombstone_horizon_s` above what `millrace ledger` shows as "
        "lateness, and compare mirror and source with `millrace reconcile`.",
    ),
    ErrorKind(
        "E420",
        "Checkpoint is in use",
        "Another driver holds the lease of this checkpoint; two drivers would both run the same batches.",
        "Stop the driver named, or wait for it to end. The lease is free when that process dies or gives no more sign of life.",
    ),
    ErrorKind(
        "E421",
        "Checkpoint is damaged",
        "A file of the checkpoint is missing, torn or contradicts the others; starting would repeat or skip batches.",
        "Restore the checkpoint from a backup. Do not edit or delete single files, unless the error itself says so: Spark may "
        "run batches twice.",
    ),
    ErrorKind(
        "E422",
        "Checkpoint is older than the table",
        "The table holds batches of this checkpoint beyond the last one the checkpoint knows; events would be skipped unread.",
        "Bring back the newer checkpoint, or start with a fresh checkpoint folder and adopt the table.",
    ),
    ErrorKind(
        "E423",
        "Table belongs to another checkpoint",
        "The table holds batches of this output written from another checkpoint; events read again would be appended twice.",
        "Start from the checkpoint that wrote the table, name a new table, or adopt the table and accept what overlaps.",
    ),
    ErrorKind(
        "E424",
        "Lease lost",
        "Another driver took the lease while this one was paused or cut off, or it could not be renewed in time.",
        "Nothing to mend: the other driver goes on, this one writes no more. Find out what paused it: memory, machine, storage.",
    ),
    ErrorKind(
        "E425",
        "Journal file is damaged",
        "A file with ledger rows that are not yet in the ledger table cannot be read.",
        "Look at the file named. If its batch is in the ledger table, delete the file; otherwise keep it and report it.",
    ),
    ErrorKind(
        "E426",
        "Table was restored",
        "The table was set back to other contents (RESTORE, CLONE or REPLACE into it, an overwrite of all of it) after rows of "
        "this checkpoint were appended; it keeps the transaction ids, so what was taken away would stay missing. Or its log was "
        "cleaned before anybody looked whether it was.",
        "Undo it with another RESTORE to the version before, and adopt the table (`millrace run --adopt-tables`). Or start with "
        "a fresh checkpoint folder and a new table, which reads again what Kafka still holds. Or adopt the table as it is.",
    ),
    ErrorKind(
        "E430",
        "Kafka topic is gone",
        "A topic that a lane has read from does not exist any more; what was not read yet is lost.",
        "Bring the topic back with its data, or start over with a new checkpoint and, where needed, a new mirror.",
    ),
    ErrorKind(
        "E431",
        "Offsets are gone from Kafka",
        "Messages a lane has not read yet were removed (retention, or records deleted); going on would skip them unseen. The "
        "message names every partition with the offset needed, the oldest still there, and how many are gone.",
        "Bring the messages back, or accept the loss: a new checkpoint and `--adopt-tables` go on at the oldest message, and "
        "`millrace reconcile` shows what a mirror misses. The choices: docs/kafka.md.",
    ),
    ErrorKind(
        "E432",
        "Kafka topic was created again",
        "A topic's identity changed, or it ends before what a lane has planned: its offsets mean other messages now.",
        "Start over with a new checkpoint; reconcile the mirror with the source.",
    ),
    ErrorKind(
        "E433",
        "Kafka partitions or topics vanished",
        "A lane has read partitions or topics that are no longer there or no longer named by the flow.",
        "Name the topic again, or start over with a new checkpoint.",
    ),
    ErrorKind(
        "E434",
        "Kafka topic is compacted",
        "Compaction removes all but the last message of a key, read or not, and an output of the flow needs every event.",
        "Set cleanup.policy of the topic to delete; or set `source.compacted: accept` and live with the gaps.",
    ),
    ErrorKind(
        "E435",
        "Kafka cluster was exchanged",
        "The brokers at the same address belong to another cluster than at the last start; its offsets mean other messages.",
        "Correct source.bootstrap_servers, or start over with a new checkpoint. If the new cluster holds the same messages at "
        "the same offsets, delete the file named, and the flow goes on.",
    ),
    ErrorKind(
        "E436",
        "Mirror was emptied or exchanged",
        "The mirror lacks the identity it was given when this checkpoint began to fill it: its namespace was truncated, its "
        "cluster restarted without data or exchanged. Going on would leave out every record that does not change again.",
        "Correct the output's hosts, or bring the data back from a backup of the mirror. To fill an empty mirror anew, start "
        "with a new checkpoint (`--adopt-tables` for histories). To go on as it is, remove the output from the file named.",
    ),
    ErrorKind(
        "E438",
        "Clock of the driver is off",
        "The clock of this machine differs from the mirror's servers' so much that records with a time to live would be removed "
        "too early, or kept too long.",
        "Set the clock (NTP) of this machine, and of the machines of Spark's executors, or of the servers.",
    ),
    ErrorKind(
        "E440",
        "Aerospike refuses every record",
        "The cluster answers in a way no retry can change: unknown namespace, missing right, unsupported feature.",
        "Mend the option, the user's role or the server setting named in the message, then start again: nothing is lost.",
    ),
    ErrorKind(
        "E441",
        "Table lacks what the checkpoint has written",
        "The table was deleted, or another one or an older copy stands in its place, or it lacks batches the checkpoint has "
        "finished: nobody would write them again.",
        "Bring the table back, or undo the change of its path. Or start with a fresh checkpoint folder and a new table, which "
        "reads again what Kafka still holds. Or accept what is missing: `millrace run --adopt-tables`.",
    ),
    ErrorKind(
        "E442",
        "Table is written from another checkpoint",
        "Another flow of the same name, or a copy of this flow's checkpoint, claims the table: both would append what they "
        "read, or each would skip what the other has written.",
        "Give one of the flows another name. If the other checkpoint is used no more, remove its folder, or start once with "
        "`millrace run --adopt-tables`.",
    ),
    ErrorKind(
        "E443",
        "Flow changed over old state",
        "The flow differs from the one that left this checkpoint, so that going on would miss or mix events. Each difference "
        "begins with the name it is accepted by, in brackets.",
        "Undo the change, or start with a fresh checkpoint folder. What may change, and what accepting means: "
        "docs/guarantees.md, Changing a flow.",
    ),
    ErrorKind(
        "E444",
        "Table forgets its batches",
        "The table's property delta.setTransactionRetentionDuration makes it forget which batches it holds; a batch that is run "
        "again after a long pause would be appended twice.",
        "Unset it: `ALTER TABLE ... UNSET TBLPROPERTIES ('delta.setTransactionRetentionDuration')`. An id is a few dozen bytes.",
    ),
    ErrorKind(
        "E445",
        "Checkpoint of a newer release",
        "A file of the checkpoint has a format number this release does not know: a newer Spark or a newer Millrace wrote it.",
        "Start the flow with the release that wrote it, or a later one. An older release cannot go on with this checkpoint.",
    ),
    ErrorKind(
        "E450",
        "Too many dead letters",
        "A limit of `dead_letters.limits` with action stop was passed. The batch is not committed; its letters were not written.",
        "Mend what the commonest reason names and start again: the batch is repeated. Else raise the limit, or set it to warn.",
    ),
    ErrorKind(
        "E451",
        "Dead letters are in use",
        "Another process replays or drops letters of this flow; two at once could take the same letter.",
        "Wait for it to end. What is left of a process that was killed is let go by itself.",
    ),
    ErrorKind(
        "E452",
        "A replay was cut short",
        "The letters to be dropped are in the middle of a replay that was cut: some outputs may have them already.",
        "Finish it first with `millrace dead-letters replay FLOW`, then look at what is still waiting.",
    ),
    ErrorKind(
        "E453",
        "A replay cannot be beside the running flow",
        "A history lies on S3, where two writers of one table are not kept apart, and the flow is running.",
        "Stop the flow, replay, and start it again: nothing is lost meanwhile.",
    ),
    ErrorKind(
        "E460",
        "Message is not as its schema says",
        "A bin is new, missing or of another type, and the record type's policy for that is to stop the flow.",
        "Change the schema to what the message holds, or its policy to one that goes on, and start again: the batch is repeated.",
    ),
    ErrorKind(
        "E490",
        "The demo could not be carried out",
        "A step of `millrace demo` did not happen: a kill that never came, a driver or workload that failed, a stalled drain.",
        "Read the log named in the message; run it again with KEEP=1 to look at what it leaves.",
    ),
)

CATALOGUE: dict[str, ErrorKind] = {kind.code: kind for kind in _KINDS}

__all__ = ["CATALOGUE", "ErrorKind"]
