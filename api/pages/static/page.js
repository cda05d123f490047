// Keeps a page alive that the server made: texts and marks change in place, and what is old says so.
"use strict";

const page = JSON.parse(document.getElementById("page-data").textContent);
const QUIET_MS = 12_000; // two heartbeats and a bit
const STATION_MS = 1_000;

const say = (key, values = {}) => page.words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const byId = (id) => document.getElementById(id);
const show = (element, shown) => element && (element.hidden = !shown);
const text = (element, value) => element && element.textContent !== value && (element.textContent = value);

// --- time ----------------------------------------------------------------------------------------------------------

const clock = { service: Date.parse(page.now), heard: performance.now(), speed: page.speed };
const serviceNow = () => clock.service + (performance.now() - clock.heard) * clock.speed;

function setClock(beat) {
  Object.assign(clock, { service: Date.parse(beat.now), heard: performance.now(), speed: beat.speed });
  show(byId("unbelieved"), !beat.believed);
}

function ageText(seconds) { // the same steps as in api/pages/words.py
  if (seconds < 1) return say("just_now");
  for (const [key, unit] of [["age_d", 86400], ["age_h", 3600], ["age_min", 60]])
    if (seconds >= 2 * unit) return say(key, { n: Math.floor(seconds / unit) });
  return say("age_s", { n: Math.floor(seconds) });
}

const age = (at) => (at ? ageText((serviceNow() - Date.parse(at)) / 1000) : say("never"));

// --- what changed --------------------------------------------------------------------------------------------------

const shownOf = (attribute) => {
  const found = new Map();
  for (const element of document.querySelectorAll(`[data-${attribute}]`)) {
    const id = element.dataset[attribute];
    found.set(id, [...(found.get(id) ?? []), element]);
  }
  return found;
};
const connectors = shownOf("connector");
const sites = shownOf("site");
const stations = shownOf("station");

function setMark(mark, status) {
  if (mark.classList.contains(status)) return;
  mark.className = `mark ${status} changed`;
  mark.addEventListener("animationend", () => mark.classList.remove("changed"), { once: true });
}

function setConnector(connector) {
  for (const element of connectors.get(connector.id) ?? []) {
    Object.assign(element.dataset, { at: connector.observed_at ?? "", stale: connector.stale });
    if (element.classList.contains("mark")) {
      setMark(element, connector.status);
      continue;
    }
    setMark(element.querySelector(".mark"), connector.status);
    const status = element.querySelector("[data-status]");
    text(status, say(`status_${connector.status}`));
    status.className = `status ${connector.status}`;
    const charging = connector.status === "CHARGING" && connector.power_kw >= 0.1;
    const said = say(`state_${connector.state ?? "none"}`);
    text(element.querySelector("[data-power]"), charging ? say("now_kw", { kw: connector.power_kw.toFixed(1) }) : said);
    element.querySelector(".age").dataset.at = connector.observed_at ?? "";
  }
}

function setSite(site) {
  for (const element of sites.get(site.site) ?? []) {
    element.dataset.free = site.summary.available;
    text(element.querySelector("[data-available]"), String(site.summary.available));
    for (const count of element.querySelectorAll("[data-count]")) {
      const n = site.summary[count.dataset.count];
      text(count.firstElementChild, String(n));
      show(count, n > 0);
    }
    if (element.classList.contains("card")) place(element, site.summary.available > 0);
  }
  setPin(site.site, site.summary);
}

function place(card, free) { // a site that has no plug left goes to the other list, and back
  const list = byId(free ? "sites-free" : "sites-full");
  if (card.parentElement === list) return;
  const focused = document.activeElement;
  const walk = Number(card.dataset.walk || Infinity);
  list.insertBefore(card, [...list.children].find((other) => Number(other.dataset.walk || Infinity) > walk) ?? null);
  if (card.contains(focused)) focused.focus();
}

function setHeadline() {
  const free = byId("sites-free");
  if (!free) return;
  const count = [...free.children].reduce((sum, card) => sum + Number(card.dataset.free), 0);
  const walks = [...free.children].map((card) => card.dataset.walk).filter(Boolean).map(Number);
  text(byId("plugs-free"), String(count));
  show(byId("some-free"), count > 0);
  const unknown = [...document.querySelectorAll(".card.site .count.unknown b")].reduce((sum, b) => sum + Number(b.textContent), 0);
  show(byId("none-free"), count === 0 && unknown === 0);
  show(byId("none-known"), count === 0 && unknown > 0);
  text(byId("none-known"), say("none_known", { n: unknown }));
  text(byId("nearest"), walks.length ? say("nearest", { n: Math.min(...walks) }) : "");
  const full = byId("sites-full").children.length;
  show(byId("full"), full > 0);
  text(byId("full-count"), say("sites_full", { n: full }));
}

const rooms = new Map();
function setStation(station) { // its words are the server's: fetched at once, then at most once a second
  const name = `${station.site}/${station.device}`;
  if (!stations.has(name)) return;
  const room = rooms.get(name) ?? { askAgain: 0, waiting: false };
  rooms.set(name, Object.assign(room, { station }));
  if (room.waiting) return;
  room.waiting = true;
  setTimeout(() => fetchRoom(name, room), Math.max(0, room.askAgain - performance.now()));
}

async function fetchRoom(name, room) {
  Object.assign(room, { waiting: false, askAgain: performance.now() + STATION_MS });
  const { site, device, refuge, stale } = room.station;
  const answer = await fetch(`/sites/${site}/stations/${device}?lang=${page.language}`).catch(() => null);
  if (!answer?.ok) return;
  const body = await answer.text();
  for (const card of stations.get(name)) {
    for (const old of [...card.children]) if (!old.classList.contains("card-head")) old.remove();
    card.insertAdjacentHTML("beforeend", body);
    card.className = `card station ${refuge} ${stale ? "stale" : ""}`;
  }
}

function apply(change) {
  change.connectors.forEach(setConnector);
  change.sites.forEach(setSite);
  change.stations.forEach(setStation);
  setHeadline();
  tick();
}

function applySnapshot(snapshot) {
  if (snapshot.sites.some((site) => !sites.has(site.site)) && performance.now() > QUIET_MS) return location.reload();
  apply({ ...snapshot, connectors: snapshot.sites.flatMap((site) => site.connectors) });
}

// --- the stream ----------------------------------------------------------------------------------------------------

let lastHeard = null;
const stream = new EventSource(page.stream);
const on = (name, take) => stream.addEventListener(name, (event) => {
  lastHeard = performance.now();
  take(JSON.parse(event.data));
});
on("snapshot", applySnapshot);
on("change", apply);
on("heartbeat", setClock);
addEventListener("pagehide", () => stream.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());

function tick() {
  for (const element of document.querySelectorAll(".age[data-at]")) text(element, age(element.dataset.at));
  for (const card of document.querySelectorAll(".card.site")) {
    const heard = [...card.querySelectorAll(".mark")].filter((mark) => mark.dataset.stale === "false" && mark.dataset.at);
    const oldest = heard.map((mark) => mark.dataset.at).sort()[0];
    text(card.querySelector("[data-oldest]"), oldest ? say("age_line", { age: age(oldest) }) : say("age_line_none"));
  }
  const demo = byId("demo-clock");
  if (demo) text(demo, say("demo_clock", { time: localTime.format(serviceNow()), speed: clock.speed }));
  if (lastHeard === null) return;
  const quiet = performance.now() - lastHeard;
  const live = quiet < QUIET_MS;
  document.body.classList.toggle("live", live);
  text(byId("live-word"), say(live ? "live" : "not_live"));
  text(byId("updated"), say("updated", { age: ageText(quiet / 1000) }));
  show(byId("lost"), !live);
  if (!live) text(byId("lost"), say("lost", { age: ageText(quiet / 1000) }));
}
const localTime = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: page.zone });
setInterval(tick, 1000);
show(byId("refresh"), false);

// --- position and map, both only when asked for --------------------------------------------------------------------

function snapped(lat, lon) { // the same 100 m square as in api/geo.py: where exactly one stands does not leave the phone
  const step = 100 / ((6371008.8 * Math.PI) / 180);
  const middle = (Math.floor(lat / step) + 0.5) * step;
  const lonStep = step / Math.cos((middle * Math.PI) / 180);
  return `${middle.toFixed(6)},${((Math.floor(lon / lonStep) + 0.5) * lonStep).toFixed(6)}`;
}

const locate = byId("locate");
if (locate && navigator.geolocation && isSecureContext) {
  show(locate, true);
  locate.addEventListener("click", () => {
    text(byId("locate-note"), say("locating"));
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        Object.assign(byId("near"), { disabled: false, value: snapped(coords.latitude, coords.longitude) });
        byId("place").value = "";
        byId("where").submit();
      },
      () => text(byId("locate-note"), say("locate_failed")),
      { timeout: 10_000, maximumAge: 60_000 },
    );
  });
}
byId("place")?.addEventListener("change", () => byId("place").value && (byId("near").disabled = true));

const mapButton = byId("map-button");
let map = null;
if (mapButton) {
  show(mapButton, true);
  mapButton.addEventListener("click", async () => {
    const opening = byId("map").hidden;
    show(byId("map"), opening);
    mapButton.setAttribute("aria-expanded", String(opening));
    text(mapButton, say(opening ? "map_hide" : "map"));
    if (opening && !map) map = await drawMap();
  });
}

const loaded = (element) => new Promise((done, failed) => {
  Object.assign(element, { onload: done, onerror: failed });
  document.head.append(element);
});

const pins = new Map();
function setPin(site, summary) { // a count where something is free; a ring where it is not known
  const pin = pins.get(site);
  if (!pin) return;
  text(pin, summary.available ? String(summary.available) : "");
  pin.className = `pin ${summary.available ? "free" : summary.unknown ? "unknown" : "full"}`;
}

function placePin([id, lat, lon, name], drawn) {
  const pin = Object.assign(document.createElement("span"), { className: "pin station" });
  pins.set(id, pin);
  return L.marker([lat, lon], { icon: L.divIcon({ html: pin, className: "pin-place", iconSize: [30, 30] }), alt: name, title: name })
    .on("click", () => { location.href = `/sites/${id}?lang=${page.language}`; })
    .addTo(drawn);
}

const plain = (words) => Object.assign(document.createElement("span"), { textContent: words }); // Leaflet takes text for markup

async function drawMap() { // no tiles: nothing is asked of anybody else
  const { leaflet, you, compounds, reach_m: reach } = page.map;
  await loaded(Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${leaflet}/leaflet.css` }));
  await loaded(Object.assign(document.createElement("script"), { src: `${leaflet}/leaflet.js` }));
  const drawn = L.map("map", { attributionControl: false });
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  for (const [lat, lon, name] of compounds)
    L.circleMarker([lat, lon], { radius: 4, weight: 0, fillOpacity: 0.5, fillColor: colour("grey") }).bindTooltip(plain(name)).addTo(drawn);
  const shown = page.map.sites.map((site) => placePin(site, drawn));
  if (you) {
    L.circle(you, { radius: reach, weight: 1, color: colour("free"), fillOpacity: 0.06 }).bindTooltip(plain(say("map_reach", { n: page.map.minutes }))).addTo(drawn);
    shown.push(L.circleMarker(you, { radius: 8, weight: 3, color: colour("ink"), fillColor: colour("card"), fillOpacity: 1 }).bindTooltip(plain(say("map_you"))).addTo(drawn));
  }
  if (shown.length) drawn.fitBounds(L.featureGroup(shown).getBounds().pad(0.05));
  else drawn.setView([31.23, 121.47], 15);
  L.control.scale({ imperial: false }).addTo(drawn);
  const answer = await (await fetch("/api/v1/availability")).json();
  answer.sites.forEach((site) => setPin(site.site, site.summary));
  return drawn;
}
