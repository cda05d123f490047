"""The pages for staff: the list of devices, and a device's own."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from api.i18n import CATALOGUES
from ingest.conditions import CODES
from tests.boards import STAFF, Ingest, free


@pytest.fixture
def api(street, tmp_path):
    with street.client(tmp_path, ingest=Ingest()) as client:
        yield client


def test_the_list_of_devices_is_for_staff_and_leads_to_the_page_of_each(api, street):
    street.everything_free()
    assert api.get("/devices").status_code == 401
    who = ("me", api.app.state.ctx.admin_token)
    answer = api.get("/devices?lang=en", auth=who)
    assert answer.headers["cache-control"] == "no-store"
    listed = re.findall(r'<a href="(/devices/[^"]+)">', answer.text)
    assert len(listed) == len(api.get("/api/v1/devices", headers=STAFF).json()["items"])
    assert "of all devices: 7 messages" in answer.text
    for page in listed:
        assert 'href="/devices?lang=en"' in api.get(page, auth=who).text


def test_a_device_s_page_is_for_staff_and_counts_its_messages(api, street):
    street.everything_free()
    path = "/devices/jn-01/pile-1?lang=en"
    for wrong in (None, ("me", "a guess")):
        answer = api.get(path, auth=wrong)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    answer = api.get(path, auth=("me", api.app.state.ctx.admin_token))
    assert answer.headers["cache-control"] == "no-store"
    shown = dict(re.findall(r'<th scope="row">([^<]*)</th><td class="number">([^<]*)</td>', answer.text))
    assert (shown["lost"], shown["missing, may still come"]) == ("4", "1")
    assert {"received", "duplicate", "dropped by the device", "from a wrong clock", "dead letters"} < shown.keys()
    assert "of all devices: 7 messages" in answer.text
    assert api.get("/api/v1/devices/jn-01/pile-1", headers=STAFF).json()["spool"]["rows"] == 7
    assert api.get("/devices/jn-01/nobody", auth=("me", api.app.state.ctx.admin_token)).status_code == 404


def test_the_list_says_first_what_needs_a_look(api, street):
    street.everything_free()
    api.app.state.ctx.ingest.account = replace(api.app.state.ctx.ingest.account, lost=0)
    held = {"since": "2026-11-23T01:00:00.000Z", "evidence": "said so"}
    street.pile("cjd-07/pile-1", free(1), conditions=[{"code": "fault:E7", "severity": "warning", **held}])
    street.pile("jn-01/pile-2", free(1), conditions=[{"code": "messages_dropped", "severity": "info", **held}])
    shown = api.get("/devices?lang=en", auth=("me", api.app.state.ctx.admin_token)).text
    assert "4 devices: 3 online, 0 offline, 1 never heard." in " ".join(shown.split())
    assert "Need a look: 1," in shown
    assert re.findall(r'href="/devices/([^"?]+)', shown) == [
        "cjd-07/pile-1", "jn-01/pile-1", "jn-01/pile-2", "st-01/station-1",
    ]  # fmt: skip
    assert "fault E7" in shown
    [together] = re.findall(r'<tr class="together">.*', shown)
    assert re.findall(r'class="number">([^<]*)', together) == ["100", "3", "1", "2", "0", "5", "6"]


def test_a_lost_message_needs_a_look(api, street):
    street.everything_free()
    shown = api.get("/devices?lang=en", auth=("me", api.app.state.ctx.admin_token)).text
    assert "Need a look: 1," in shown
    assert re.findall(r'href="/devices/([^"?]+)', shown)[0] == "jn-01/pile-1"


def test_who_is_offline_is_not_called_so_twice(api, street):
    held = {"code": "offline", "since": "2026-11-23T01:00:00.000Z", "severity": "warning", "evidence": "said so"}
    street.pile("jn-01/pile-1", free(1), online=False, conditions=[held])
    who = ("me", api.app.state.ctx.admin_token)
    [row] = [line for line in api.get("/devices?lang=en", auth=who).text.split("<tr>") if "jn-01/pile-1?" in line]
    assert row.count("offline") == 1


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_holds_at_a_device_is_said_in_words(api, street, language):
    held = [
        {"code": f"{code}:E7" if code == "fault" else code, "severity": "warning", "evidence": "said so",
         "since": "2026-11-23T01:00:00.000Z"}
        for code in [*CODES, "of_tomorrow"]
    ]  # fmt: skip
    street.pile("jn-01/pile-1", free(1), conditions=held)
    shown = api.get(f"/devices/jn-01/pile-1?lang={language}", auth=("me", api.app.state.ctx.admin_token)).text
    said = re.findall(r"<li><b>([^<]*)</b>", shown)
    words = [CATALOGUES[language][f"condition_{code}"].format(code="E7") for code in CODES]
    assert said == [*words, "of_tomorrow"]
