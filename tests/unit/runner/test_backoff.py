from pipelines.backoff import Backoff


def test_waits_double_up_to_the_ceiling_and_never_shrink_below_half() -> None:
    backoff = Backoff(first_s=1.0, ceiling_s=8.0, seed=3)
    waits = [backoff.next_wait_s() for _ in range(8)]
    for wait, full in zip(waits, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert full / 2 <= wait <= full
    assert len(set(waits)) == len(waits), "without jitter all lanes would knock in the same instant"


def test_success_begins_anew() -> None:
    backoff = Backoff(first_s=1.0, ceiling_s=60.0)
    for _ in range(6):
        backoff.next_wait_s()
    backoff.reset()
    assert backoff.next_wait_s() <= 1.0
    assert backoff.failures == 1


def test_a_failure_for_months_does_not_overflow() -> None:
    backoff = Backoff(first_s=0.5, ceiling_s=30.0)
    backoff.failures = 100_000
    assert backoff.next_wait_s() <= 30.0
