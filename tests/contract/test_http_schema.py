"""The API does what its own description says, for questions that nobody thought of."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.turns import Turns
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn
from scheduler.desk import Desk
from scheduler.rules import RuleSet
from tests.boards import STAFF, STREET, Street, charging, free
from tests.desks import SitesOf
from tests.ledgers import opened

EXAMPLES = 8
BEYOND_A_SCHEMA = [positive_data_acceptance]
"""A cursor of nobody, or a span of time that is too long, is refused though no schema can say so."""
STREAM = "/api/v1/availability/stream"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    street = Street()
    street.everything_free()
    street.pile("jn-01/pile-1", charging(1), free(2, bay_occupied=True))
    street.station(climate={"indoor_c": 26.0, "indoor_rh_pct": 50.0, "outdoor_c": 36.0})
    ledger = opened(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}")
    desk = Desk(ledger, SitesOf(STREET), Drawn(), is_workday)
    ledger.adopt(RuleSet(site="jn-01", compounds=("c-01",)), after=0, by="init", now_ms=street.service_ms)
    turns = Turns(desk, ledger.accounts, "Asia/Shanghai")
    with street.app(tmp_path_factory.mktemp("api"), turns=lambda: turns) as made:
        yield made
    ledger.close()


def operations(app):
    described = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path=STREAM)
    return [found.ok() for found in described.get_all_operations()]


def test_every_answer_is_as_described(app):
    for operation in operations(app):

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answered(case):
            case.call_and_validate(headers=STAFF, excluded_checks=BEYOND_A_SCHEMA)

        answered()


def test_every_answer_of_the_description_has_a_shape_and_every_value_is_explained(app):
    described = app.openapi()
    for path, item in described["paths"].items():
        for method, operation in item.items():
            assert operation["description"], f"{method} {path}"
            for status, answer in operation["responses"].items():
                assert answer.get("content") or status == "204", f"{method} {path} {status}"
    assert "HTTPValidationError" not in described["components"]["schemas"], "errors are problems"


def test_staff_paths_say_that_they_need_a_token(app):
    paths = app.openapi()["paths"]
    open_paths = {
        f"{method.upper()} {path}" for path, item in paths.items() for method in item if "security" not in item[method]
    }
    assert open_paths == {
        "GET /api/v1/availability",
        "GET /api/v1/availability/stream",
        "GET /api/v1/nearby",
        "GET /api/v1/sites",
        "GET /api/v1/sites/{site}",
        "GET /api/v1/sites/{site}/rules",
        "GET /api/v1/stations",
        "GET /api/v1/stations/{site}/{device}",
        "POST /api/v1/login",
        "POST /api/v1/trouble",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
