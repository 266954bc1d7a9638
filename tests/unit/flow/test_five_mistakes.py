"""All problems of a file at once, each at its line, in words that say what stands there and what to do."""

import pytest

from pipelines.flow import FlowInvalid, parse_flow

FIVE_MISTAKES = """\
name: payments
source:
  bootstrap_servers: 127.0.0.1:9092
  topics: [xdr.payments]
  formt: json
  max_offsets_per_trigger: lots
records:
  - sets: [cards]
lanes:
  fast:
    outputs:
      mirror:
        type: aerospike
        hosts: [127.0.0.1:3000]
        namespace: mirror
        socket_timeout_ms: 9000
        total_timeout_ms: 1000
  bulk:
    outputs:
      history: {type: delta_histroy, path: data/history}
dead_letters: {path: data/dead_letters}
checkpoint: checkpoints/payments
"""


def test_five_different_mistakes_are_all_named_with_their_lines() -> None:
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(FIVE_MISTAKES, "payments.yaml", {})
    texts = [problem.text("payments.yaml") for problem in caught.value.problems]
    assert texts == [
        "payments.yaml:5:3: unknown option 'source.formt'. Did you mean 'format'?",
        "payments.yaml:6:3: 'source.max_offsets_per_trigger' is 'lots', expected a whole number",
        "payments.yaml:8:5: required option 'records[0].namespace' is missing. Source namespace.",
        "payments.yaml:16:9: 'lanes.fast.outputs.mirror.socket_timeout_ms' (9000) is more than total_timeout_ms (1000). "
        "One network wait is part of a call: lower it, or raise total_timeout_ms.",
        "payments.yaml:20:17: 'lanes.bulk.outputs.history.type' is 'delta_histroy', which is not a kind of output. "
        "Did you mean 'delta_history'?",
    ]
    assert caught.value.code == "E101"
    assert "5 problems" in str(caught.value)
    assert all(text in str(caught.value) for text in texts)


def test_mending_every_line_makes_it_valid() -> None:
    mended = (
        FIVE_MISTAKES.replace("formt", "format")
        .replace("lots", "100")
        .replace("- sets: [cards]", "- {namespace: payments, sets: [cards]}")
        .replace("9000", "900")
        .replace("histroy", "history")
    )
    assert parse_flow(mended, "payments.yaml", {}).flow.name == "payments"


def test_a_rule_is_not_reported_over_an_option_that_is_itself_wrong() -> None:
    text = FIVE_MISTAKES.replace("total_timeout_ms: 1000", "total_timeout_ms: soon")
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(text, "payments.yaml", {})
    messages = [problem.message for problem in caught.value.problems]
    assert "'lanes.fast.outputs.mirror.total_timeout_ms' is 'soon', expected a whole number" in messages
    assert not any("is more than" in message for message in messages)


@pytest.mark.parametrize(
    ("before", "after", "line", "expected"),
    [
        ("name: payments", "name: Payments!", 1, "'name' is 'Payments!', expected lower-case letters"),
        ("127.0.0.1:9092", "", 3, "'source.bootstrap_servers' is empty, expected"),
        ("[xdr.payments]", "[]", 4, "expected at least 1"),
        ("[xdr.payments]", "[on]", 4, "'source.topics[0]' is true, expected text. Put quotes around it."),
        ("formt: json", "format: protobuf", 5, "expected one of 'json', 'flat-json', 'message-pack', 'avro', 'kafka-avro' or "),
        ("formt: json", "starting_offsets: earlyest", 5, "Did you mean 'earliest'?"),
        ("lots", "'20'", 6, "is '20', expected a whole number. Leave the quotes out."),
        ("lots", "0", 6, "expected at least 1"),
        ("lots", "2.5", 6, "expected a whole number"),
        ("lots", "true", 6, "is true, expected a whole number"),
        ("lots", "{a: 1}", 6, "is a group of options, expected a whole number"),
        (
            "- sets: [cards]",
            "- {namespace: payments, bins: {qty: integer}}",
            8,
            "bins.qty' is 'integer', expected one of",
        ),
        ("- sets: [cards]", "- {namespace: payments, bins: all}", 8, "expected `schemaless`, or bin names"),
        ("[127.0.0.1:3000]", "[localhost]", 14, "hosts[0]' is 'localhost', expected host:port or host:tls_name:port"),
        ("[127.0.0.1:3000]", "[localhost:99999]", 14, "expected host:port"),
        ("namespace: mirror", "send_key: yes please", 15, "expected true or false"),
        ("{type: delta_histroy, path: data/history}", "{path: data/history}", 20, "outputs.history.type' is missing"),
        ("{type: delta_histroy, path: data/history}", "7", 20, "'lanes.bulk.outputs.history' is 7, expected a group of options"),
        ("  bulk:\n", "  bulk:\n    trigger: sometimes\n", 19, "expected {interval_ms: N} or available_now"),
        ("  bulk:\n", "  Bulk:\n", 18, "expected lower-case letters"),
    ],
)
def test_wrong_values_are_named_with_what_was_expected(before: str, after: str, line: int, expected: str) -> None:
    assert before in FIVE_MISTAKES
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(FIVE_MISTAKES.replace(before, after), "payments.yaml", {})
    found = [problem for problem in caught.value.problems if expected in problem.text()]
    assert found, caught.value.message
    assert found[0].line == line
