# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials of experiment servers: none in a message, none that crashes a run, and a warning when others can read them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._core.urls import without_secrets
from ansible_collections.liveml.vsphere.plugins.module_utils._experiments.providers.credentials import without_repeated
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.sources import observed, providers, settings
from tests.doubles.servers import Answering, serving

SECRET = "CANARY"
OVER_HTTP = ("driverless_ai", "mlflow", "prometheus", "tensorboard")


def source(provider: str, **changes: Any) -> dict[str, Any]:
    needed = {"metric": "steps"} if provider == "prometheus" else {}
    return settings(provider, url="http://127.0.0.1:1", **needed) | changes


@pytest.mark.parametrize("provider", OVER_HTTP)
@pytest.mark.parametrize(
    "broken", ["{}\n", "\n{}", "{} ", "{}\r\nX-Injected: 1", "{}\0", "{}\u2028", "{}é", "\ud800{}"]
)
def test_a_token_that_no_header_can_carry_is_named_and_never_shown(provider: str, broken: str) -> None:
    with pytest.raises(InvalidInput, match=r"experiments\.sources\.token contains") as caught:
        providers(source(provider, token=broken.format(SECRET)))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "option", [{"username": "a:b"}, {"username": "a\n"}, {"username": "a", "password": f"{SECRET}\n"}]
)
def test_a_login_that_no_header_can_carry_is_named_and_never_shown(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"experiments\.(username|password) contains") as caught:
        providers(h2o3=True, **option)
    assert SECRET not in str(caught.value)
    with pytest.raises(InvalidInput, match=r"experiments\.sources\.(username|password) contains"):
        providers(source("mlflow", **option))


def test_a_program_gets_any_token() -> None:
    providers(settings("exec", command=["/bin/true"], token=f"{SECRET}\né"))


BAD_URLS = (
    f"https://bob:{SECRET}@mlflow.example.com:5000",
    f"https://{SECRET}@mlflow.example.com",
    f"https://:{SECRET}@mlflow.example.com",
    f"https://bob:{SECRET}/x@mlflow.example.com",
    f"https://bob:{SECRET}?x@mlflow.example.com",
    f"https://bob:x@{SECRET}@mlflow.example.com",
    f"bob:{SECRET}@mlflow.example.com",
    f"https://mlflow.example.com?x={SECRET}",
    f"https://mlflow.example.com?x=a@{SECRET}",
    f"https://mlflow.example.com#{SECRET}",
    f"https://mlflow.example.com?token={SECRET}",
    f"https://mlflow.example.com:port?token={SECRET}",
    f"https://[::1?token={SECRET}",
    f"https://{{address}}:{SECRET}@:5000",
    f"https://{{vm}}/?api_key={SECRET}",
)


@pytest.mark.parametrize("provider", OVER_HTTP)
@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_with_a_secret_is_refused_without_it(provider: str, url: str) -> None:
    """A page of Prometheus may have a query, but no message has it."""
    try:
        detail = observed(source(provider, url=url), allowed_networks=["127.0.0.0/8"]).detail
    except InvalidInput as error:
        detail = str(error)
        assert "url" in detail
    assert SECRET not in detail


@given(st.text("ab:/?#@.[]%{}", max_size=8), st.sampled_from(["?", "#", "@"]), st.text("ab:/?#@.[]%{}", max_size=8))
def test_no_text_around_a_secret_brings_it_into_a_message(before: str, mark: str, after: str) -> None:
    hidden = f"http://x{before}:{SECRET}{after}@host" if mark == "@" else f"http://host{before}{mark}{SECRET}{after}"
    assert SECRET not in without_secrets(hidden)


def test_what_is_not_secret_stays() -> None:
    assert without_secrets("https://bob:x@mlflow.example.com:5000/a?b=c") == "https://mlflow.example.com:5000/a"
    assert without_secrets("mlflow.example.com") == "mlflow.example.com"


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        ({"username": "u", "password": "p"}, 1),
        ({"username": "u", "password": "p", "use_tls": True}, 0),
        ({"username": "u", "password": "p", "enabled": False}, 0),
        ({"username": "u", "password": "p", "h2o3": False}, 0),
        ({"password": "p"}, 0),
        ({}, 0),
    ],
)
def test_a_password_that_goes_in_clear_is_told(options: dict[str, Any], warnings: int) -> None:
    assert len(providers(**({"h2o3": True} | options)).warnings) == warnings


@pytest.mark.parametrize(
    ("url", "warnings"),
    [
        ("http://mlflow.example.com", 1),
        ("HTTP://{address}:5000", 1),
        ("http://127.0.0.1:5000", 0),
        ("http://[::1]:5000", 0),
        ("http://localhost:5000", 0),
        ("https://mlflow.example.com", 0),
    ],
)
def test_a_token_that_goes_in_clear_is_told_without_it(url: str, warnings: int) -> None:
    told = providers(source("mlflow", url=url, token=SECRET)).warnings
    assert len(told) == warnings
    assert SECRET not in str(told)
    assert all("experiments.sources.token" in each and "plain HTTP" in each for each in told)


def test_a_client_certificate_is_a_credential_of_the_built_in_source_too() -> None:
    (scoped,) = providers(h2o3=True, client_cert="/x.pem")._sources
    assert scoped.sends_credentials


@pytest.mark.parametrize("provider", ["mlflow", "tensorboard", "prometheus", "h2o3"])
@pytest.mark.parametrize(
    "login", [{"token": f"{SECRET} 1".replace(" ", "~")}, {"username": "bob", "password": f'{SECRET}/"1'}]
)
def test_a_server_that_repeats_what_it_was_sent_brings_no_secret_into_a_report(
    provider: str, login: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Proxies do that in their errors, and debugging servers in everything."""

    class Handler(Answering):
        def do_GET(self) -> None:
            sent = self.headers["Authorization"] or ""
            plain = base64.b64decode(sent.removeprefix("Basic ")).decode() if sent.startswith("Basic") else sent
            said = f"not valid: {sent} ({plain}) {quote(plain, safe='')} {plain.partition(':')[2] or plain}"
            body = {
                "error_code": said,
                "message": said,
                "status": "error",
                "error": said,
                "jobs": [{"exception": said}],
            }
            self.answer(self.status, body, Location=f"http://x/{plain}", **{"x-h2o-cluster-id": said})

        status = 400
        do_POST = do_OPTIONS = do_GET

    with serving(Handler) as port:
        for Handler.status in (400, 302):
            if provider == "h2o3":
                if "token" in login:
                    return
                detail = observed(h2o3=True, ports=[port], **login).detail
            else:
                query = {"query": 'm{vm="{vm}"}'} if provider == "prometheus" else {}
                detail = observed(settings(provider, url=f"http://127.0.0.1:{port}", **login, **query)).detail
            assert detail
            assert SECRET not in detail
            assert base64.b64encode(f"bob:{login.get('password')}".encode()).decode() not in detail


def test_a_program_that_repeats_its_secrets_brings_none_into_a_report(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\nread question\nprintf \'{"error": [1], "experiments": [{"id": "a", "description": "%s"}]}\\n\' CANARY-1\n'
    )
    program.chmod(0o700)
    (found,) = observed(settings("exec", command=[str(program)], token="CANARY-1", username="CANARY")).experiments
    assert found.description == "********"


def test_data_that_is_nested_too_deep_to_look_for_secrets_is_not_used() -> None:
    deep: list[Any] = []
    for _level in range(100_000):
        deep = [deep]
    assert without_repeated(deep, ("secret",)) is None
    assert without_repeated({"secret": ["a secret"]}, ("secret",)) == {"secret": ["a ********"]}
