"""`millrace doctor` names what is missing, wrong or unreachable."""

import json
import sys
from pathlib import Path

import pytest

from deploy import cli, doctor
from deploy.paths import PROJECT


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A jars folder for Spark with exactly what is expected, as empty files."""
    folder = tmp_path / "spark-jars"
    folder.mkdir()
    for name in (PROJECT / "deploy/jars/spark/expected.txt").read_text().split():
        (folder / name).touch()
    monkeypatch.setenv("MILLRACE_JARS", str(folder))
    return folder


def test_exactly_the_expected_jars_are_ok(jars: Path) -> None:
    assert doctor.jars_check("spark").state == "ok"


def test_a_jar_too_few_too_many_or_of_another_version_fails(jars: Path) -> None:
    one = jars / "kafka-clients-3.9.2.jar"
    assert one.exists()
    one.rename(jars / "kafka-clients-4.1.1.jar")
    swapped = doctor.jars_check("spark")
    assert swapped.state == "fail" and "kafka-clients-3.9.2.jar" in swapped.found and swapped.remedy
    (jars / "kafka-clients-4.1.1.jar").rename(one)
    (jars / "delta-storage-4.3.0.jar").touch()
    extra = doctor.jars_check("spark")
    assert extra.state == "fail" and "delta-storage-4.3.0.jar" in extra.found


def test_no_jars_at_all_says_make_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_JARS", str(tmp_path / "nowhere"))
    missing = doctor.jars_check("kafka")
    assert missing.state == "fail" and "make setup" in missing.remedy


def test_expected_jars_name_what_the_poms_ask_for() -> None:
    import re

    for kind in ("spark", "kafka"):
        pom = (PROJECT / f"deploy/jars/{kind}/pom.xml").read_text()
        expected = (PROJECT / f"deploy/jars/{kind}/expected.txt").read_text().split()
        asked = re.findall(r"<dependency>.*?<artifactId>(.*?)</artifactId>\s*<version>(.*?)</version>", pom, flags=re.DOTALL)
        assert asked
        for artifact, version in asked:
            assert f"{artifact}-{version}.jar" in expected


def test_java_missing_or_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert by_name(list(doctor.machine_checks()))["Java"].state == "fail"
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    for text, state in (("21.0.4", "warn"), ("1.8.0_422", "fail"), ("17.0.15", "ok")):
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{text}\"' >&2\n")
        java.chmod(0o755)
        check = by_name(list(doctor.machine_checks()))["Java"]
        assert (check.state, text in check.found) == (state, True)


def test_another_python_for_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/usr/bin/python-of-another-kind")
    check = by_name(list(doctor.machine_checks()))["PYSPARK_PYTHON"]
    assert check.state == "warn" and sys.executable in check.found
    monkeypatch.delenv("PYSPARK_PYTHON")
    assert by_name(list(doctor.machine_checks()))["PYSPARK_PYTHON"].state == "ok"


def test_unreachable_addresses_fail_with_exit_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "KAFKA_TIMEOUT_S", 0.5)
    monkeypatch.setenv("MILLRACE_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("MILLRACE_AEROSPIKE", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", str(PROJECT / "examples/payments.yaml"), "--output", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    states = {check["name"]: check for check in told["checks"]}
    assert told["healthy"] is False
    assert states["source"]["state"] == "fail" and "127.0.0.1:1" in states["source"]["found"]
    assert states["output mirror"]["state"] == "fail" and states["output mirror"]["remedy"]
    assert states["checkpoint"]["state"] == "ok"


def test_an_invalid_flow_is_refused_with_status_2(tmp_path: Path) -> None:
    broken = tmp_path / "flow.yaml"
    broken.write_text("name: 5\n")
    assert cli.main(["doctor", str(broken)]) == 2


def test_without_anything_running_the_local_stack_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    monkeypatch.delenv("MILLRACE_KAFKA", raising=False)
    monkeypatch.delenv("MILLRACE_AEROSPIKE", raising=False)
    checks = by_name(list(doctor.local_checks()))
    assert {check.state for check in checks.values()} == {"warn"}
    assert "millrace local up" in checks["local kafka"].remedy
    assert not (tmp_path / "local").exists(), "looking changes nothing"
