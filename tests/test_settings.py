from collections.abc import Mapping
from pathlib import Path

import pytest

from sentiment_k8s.errors import SettingsError
from sentiment_k8s.settings import (
    Settings,
    environment_name,
    flag_name,
    load_settings,
    settings_table,
)


def refusal(environ: Mapping[str, str], **flags: object) -> str:
    """The sentence with which these settings are refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, environ)
    return caught.value.message


def test_a_flag_wins_over_the_environment() -> None:
    assert load_settings({"port": 9000}, {"SENTIMENT_PORT": "8500"}).port == 9000


def test_the_environment_wins_over_the_default() -> None:
    assert load_settings({"port": None}, {"SENTIMENT_PORT": "8500"}).port == 8500


def test_what_nobody_gives_has_its_default() -> None:
    assert load_settings({}, {}) == Settings()


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({}, {"SENTIMENT_READ_TOKEN": "", "SENTIMENT_PORT": ""}) == Settings()


def test_database_url_has_no_prefix() -> None:
    settings = load_settings({}, {"DATABASE_URL": "postgresql://u:secret@db/ai_db"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:secret@db/ai_db"


def test_secrets_are_not_shown_when_settings_are_printed() -> None:
    settings = load_settings({}, {"DATABASE_URL": "secret", "SENTIMENT_READ_TOKEN": "secret"})
    assert "secret" not in repr(settings)


def test_a_variable_that_is_no_setting_is_refused_by_name() -> None:
    assert "SENTIMENT_PROT is not a setting" in refusal({"SENTIMENT_PROT": "8000"})


def test_a_variable_that_only_looks_like_a_service_link_is_refused() -> None:
    assert "SENTIMENT_HTTP_PORT is not a setting" in refusal({"SENTIMENT_HTTP_PORT": "8000"})


def test_other_programs_variables_are_ignored() -> None:
    assert load_settings({}, {"PATH": "/bin", "SENTIMENTAL": "yes", "PORT": "1"}) == Settings()


def test_service_links_of_kubernetes_are_ignored() -> None:
    """What a Service called `sentiment` and one called `sentiment-service` put into a pod."""
    links = {
        f"SENTIMENT_{service}{name}": value
        for service in ("", "SERVICE_")
        for name, value in {
            "SERVICE_HOST": "10.0.0.17",
            "SERVICE_PORT": "80",
            "SERVICE_PORT_HTTP": "80",
            "PORT": "tcp://10.0.0.17:80",
            "PORT_80_TCP": "tcp://10.0.0.17:80",
            "PORT_80_TCP_PROTO": "tcp",
            "PORT_80_TCP_PORT": "80",
            "PORT_80_TCP_ADDR": "10.0.0.17",
        }.items()
    }
    assert load_settings({}, links) == Settings()


def test_a_service_link_does_not_hide_a_flag() -> None:
    assert load_settings({"port": "81"}, {"SENTIMENT_PORT": "tcp://10.0.0.17:80"}).port == 81


@pytest.mark.parametrize(
    ("written", "size"), [("1048576", 2**20), ("1MiB", 2**20), ("64KiB", 2**16), ("1MB", 10**6)]
)
def test_sizes_are_written_with_or_without_units(written: str, size: int) -> None:
    assert load_settings({}, {"SENTIMENT_MAX_BODY_BYTES": written}).max_body_bytes == size


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SENTIMENT_PORT", "eighty"),
        ("SENTIMENT_PORT", "65536"),
        ("SENTIMENT_MAX_BODY_BYTES", "much"),
        ("SENTIMENT_MAX_BODY_BYTES", "0"),
        ("SENTIMENT_RECORD", "perhaps"),
        ("SENTIMENT_DEADLINE_SECONDS", "0"),
        ("SENTIMENT_DEADLINE_SECONDS", "inf"),
        ("SENTIMENT_DEADLINE_SECONDS", "nan"),
        ("SENTIMENT_SHUTDOWN_DELAY_SECONDS", "-1"),
        ("SENTIMENT_THREADS", "0"),
    ],
)
def test_a_bad_value_is_refused_by_variable_and_flag(variable: str, value: str) -> None:
    sentence = refusal({variable: value})
    field = variable.removeprefix("SENTIMENT_").lower()
    assert sentence.startswith(f"{variable} ({flag_name(field)}): ")


def test_a_refusal_does_not_repeat_a_secret() -> None:
    assert "hunter2" not in refusal({}, read_token={"not": "hunter2"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_is_known(host: str) -> None:
    assert Settings(host=host).on_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_any_other_address_is_not_loopback(host: str) -> None:
    assert not Settings(host=host).on_loopback


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_table_has_every_setting_once_and_explains_it() -> None:
    _, _, *rows = settings_table().splitlines()
    assert [row.split("`")[1] for row in rows] == [
        environment_name(name) for name in Settings.model_fields
    ]
    for row in rows:
        columns = row.replace(r"\|", "or").strip("|").split("|")
        assert len(columns) == 5
        assert columns[4].strip(), row


def test_a_folder_is_a_path() -> None:
    assert load_settings({}, {"SENTIMENT_DATA_DIR": "/data"}).data_dir == Path("/data")
