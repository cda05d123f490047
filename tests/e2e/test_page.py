"""The page as people see it: in chromium, over a whole installation, from a device's word to the screen."""

from __future__ import annotations

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from api.geo import snapped

WITHIN_MS = 2_000
HEPING = "place=c.c-01"


def free_here(page):
    return page.locator('[data-site="jn-01"] [data-available]')


def test_a_change_on_mqtt_is_on_the_screen_within_two_seconds(place, phone):
    page = phone.open("/")
    expect(page.locator("body")).to_have_class("live")
    expect(free_here(page)).to_have_text("2")
    said_s = time.monotonic()
    place.pile.says("connector", connector=1, state="charging", bay_occupied=True)
    expect(free_here(page)).to_have_text("1", timeout=WITHIN_MS)
    assert time.monotonic() - said_s < WITHIN_MS / 1_000
    expect(page.locator("#plugs-free")).to_have_text("1")
    expect(page.locator('[data-site="jn-01"] .count.in_use')).to_contain_text("1 使用中")


def test_a_site_that_fills_up_moves_to_the_others_and_back(place, phone):
    page = phone.open("/")
    expect(page.locator("#sites-free [data-site]")).to_have_count(1)
    for connector in (1, 2):
        place.pile.says("connector", connector=connector, state="charging", bay_occupied=True)
    expect(page.locator("#sites-free [data-site]")).to_have_count(0, timeout=WITHIN_MS)
    expect(page.locator("#none-free")).to_be_visible()
    place.pile.says("connector", connector=2, state="available", bay_occupied=False)
    expect(page.locator('#sites-free [data-site="jn-01"]')).to_be_visible(timeout=WITHIN_MS)


def test_the_page_of_a_site_follows_each_connector(place, phone):
    page = phone.open("/sites/jn-01?lang=en")
    status = page.locator('[data-connector="jn-01/pile-1/1"] [data-status]')
    expect(page.locator("body")).to_have_class("live")
    expect(status).to_have_text("Free")
    place.pile.says("connector", connector=1, state="faulted", error="E1")
    expect(status).to_have_text("Out of order", timeout=WITHIN_MS)


def test_a_device_that_leaves_is_shown_as_not_known(place, phone):
    page = phone.open("/sites/jn-01?lang=en")
    expect(page.locator("body")).to_have_class("live")
    place.pile.status(online=False)
    expect(page.locator('[data-connector="jn-01/pile-1/1"] [data-status]')).to_have_text("Not known", timeout=WITHIN_MS)
    expect(page.locator('[data-count="unknown"] b')).to_have_text("2")


def test_a_cut_connection_is_said_and_not_hidden(place, phone):
    page = phone.open("/?lang=en")
    expect(page.locator("body")).to_have_class("live")
    page.evaluate("stream.close(); lastHeard -= 60_000")
    expect(page.locator("#lost")).to_contain_text("The connection is lost", timeout=5_000)
    expect(page.locator("body")).not_to_have_class("live")


def test_everything_is_there_without_a_script(place, phone):
    page = phone.open("/", java_script_enabled=False)
    page.select_option("#place", label="和平小区")
    page.select_option('[name="minutes"]', "5")
    page.get_by_role("button", name="查看").click()
    assert "place=c.c-01" in page.url
    expect(page.locator("#plugs-free")).to_have_text("2")
    expect(page.locator("#nearest")).to_have_text("最近步行 1 分钟")
    expect(page.locator('[data-site="far-01"]')).to_have_count(0)
    expect(page.locator("#live-word")).to_have_text("非实时")
    page.get_by_role("link", name="江宁路轮充点").click()
    expect(page.locator('[data-connector="jn-01/pile-1/2"] [data-status]')).to_have_text("空闲")


def test_a_trouble_is_reported_without_a_script(place, phone):
    page = phone.open("/sites/jn-01?connector=jn-01/pile-1/2", java_script_enabled=False)
    page.select_option('[name="kind"]', "blocked")
    page.fill('[name="note"]', "一辆油车停着")
    page.get_by_role("button", name="报告").click()
    expect(page.get_by_role("status").filter(has_text="已收到")).to_be_visible()
    [trouble] = place.troubles()
    assert (trouble["connector"], trouble["kind"], trouble["note"]) == ("jn-01/pile-1/2", "blocked", "一辆油车停着")


@pytest.mark.parametrize(
    ("locale", "query", "title"),
    [
        ("zh-CN", "", "附近有什么空着"),
        ("en-GB", "", "What is free near you"),
        ("en-GB", "?lang=zh", "附近有什么空着"),
        ("fr-FR", "", "附近有什么空着"),
    ],
)
def test_the_page_speaks_the_readers_language(phone, locale, query, title):
    page = phone.open(f"/{query}", locale=locale)
    expect(page.locator("h1")).to_have_text(title)


def test_the_other_language_is_one_touch_away_and_keeps_the_place(phone):
    page = phone.open(f"/?{HEPING}&minutes=5")
    page.get_by_role("link", name="English").click()
    expect(page.locator("h1")).to_have_text("What is free near you")
    expect(page.locator("#place")).to_have_value("c.c-01")
    page.get_by_role("link", name="Jiangning Road bays").click()
    page.get_by_role("link", name="Back").click()
    expect(page.locator("#place")).to_have_value("c.c-01")


def test_an_unknown_site_has_a_page_and_not_a_dead_end(phone):
    page = phone.open("/sites/nowhere?lang=en")
    phone.errors.clear()  # the browser's own word on the 404
    page.get_by_role("link", name="Back").click()
    expect(page.locator("h1")).to_have_text("What is free near you")


def test_on_a_hot_day_cool_rooms_come_before_plugs(phone):
    page = phone.open(f"/?lang=en&{HEPING}")
    expect(page.locator("h2").first).to_contain_text("It is hot: cool rooms first")
    expect(page.locator('[data-station="st-01/station-1"] .refuge')).to_have_text("Cool room")
    expect(page.locator(".rooms")).to_have_text("1 cool rooms")


def test_smoke_in_a_cool_room_is_soon_on_the_screen(place, phone):
    page = phone.open("/?lang=en")
    reason = page.locator('[data-station="st-01/station-1"] .reason')
    expect(page.locator("body")).to_have_class("live")
    expect(reason).to_have_text("cooler than outdoors")
    place.station.says("smoke", alarm=True)
    expect(reason).to_have_text("smoke alarm, keep out")
    place.station.says("smoke", alarm=False)


def test_a_position_is_rounded_before_it_leaves_the_phone(phone):
    page = phone.open(
        "/?lang=en", geolocation={"latitude": 31.2404321, "longitude": 121.4406789}, permissions=["geolocation"]
    )
    page.get_by_role("button", name="Use my position").click()
    page.wait_for_url("**/?*near=*")
    lat, lon = snapped(31.2404321, 121.4406789)
    assert f"near={lat:.6f}%2C{lon:.6f}" in page.url
    assert not any("31.2404" in address for address in phone.asked)
    expect(page.locator("#nearest")).to_have_text("the nearest 1 min on foot")


def test_the_map_is_drawn_from_our_own_server(phone):
    page = phone.open(f"/?lang=en&{HEPING}")
    assert not any("leaflet" in address for address in phone.asked)
    page.get_by_role("button", name="Map").click()
    expect(page.locator("#map .pin.free")).to_have_text("2")
    expect(page.locator("#map .pin")).to_have_count(3)
    page.locator("#map path").first.dispatch_event("mouseover")
    expect(page.locator("#map .leaflet-tooltip")).to_have_text("Heping <i>Compound</i>")


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        (f"/?lang=zh&{HEPING}&minutes=60", "light"),
        ("/?lang=en", "dark"),
        ("/sites/jn-01?lang=en", "light"),
        ("/sites/jn-01", "dark"),
        ("/docs", "light"),
    ],
)
def test_nothing_on_a_page_shuts_anybody_out(phone, path, scheme):
    page = phone.open(path, color_scheme=scheme)
    found = [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert found == []
