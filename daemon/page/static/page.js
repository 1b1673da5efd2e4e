"use strict";
// The page is whole without this. With it, parts are kept current while somebody looks, and commands can be copied.

const main = document.querySelector("[data-live]");
const SECONDS = 1000;
// What a script asks for is no sign that somebody is there: it keeps no session.
const BY_ITSELF = { headers: { accept: "text/html", "x-riverkeep-live": "1" } };
let busy = false;
let events = null;

// What somebody is about to use, has opened or has begun to fill in stays under their hands.
function inUse(part) {
  const edited = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  return part.contains(document.activeElement) || part.querySelector("details[open]")
    || [...part.querySelectorAll("input, textarea")].some(edited);
}

async function refresh() {
  if (busy || document.hidden) return;
  busy = true;
  try {
    const answer = await fetch(location.href, BY_ITSELF);
    // Signed out, or gone: what happens then is the browser's to show.
    if (answer.redirected || answer.status === 401) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    let isWhole = true;
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.innerHTML === part.innerHTML) continue;
      if (inUse(part)) isWhole = false;
      else part.innerHTML = other.innerHTML;
    }
    // As of when it stands there: of what was left as it is that is not now.
    const liveness = document.getElementById("liveness");
    if (isWhole) liveness.innerHTML = fresh.getElementById("liveness").innerHTML;
  } catch {
    // Asked again by the next event, or by the clock.
  } finally {
    busy = false;
  }
}

function watch() {
  events = new EventSource(main.dataset.live);
  events.addEventListener("changed", refresh);
  events.addEventListener("error", () => {
    // The browser comes back by itself, unless it was sent away: then the page asks now and then.
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(async () => { await refresh(); watch(); }, 15 * SECONDS);
  });
}

if (main && "EventSource" in window) {
  watch();
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (shown) => { if (shown.persisted) watch(); });
  document.addEventListener("visibilitychange", refresh);
  // Spans of time pass, also where nothing happens.
  setInterval(refresh, 30 * SECONDS);
}

// A page that waits for something asks for itself, and is drawn anew once that is there.
async function ask() {
  const waits = document.querySelector("[data-again]");
  if (!waits) return;
  try {
    const answer = document.hidden ? null : await fetch(location.href, BY_ITSELF);
    if (answer && (answer.redirected || answer.status === 404)) return location.reload();
    const fresh = answer && answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    if (fresh && !fresh.querySelector("[data-again]")) return location.reload();
    const other = fresh && fresh.getElementById(waits.id);
    if (other && other.innerHTML !== waits.innerHTML) waits.innerHTML = other.innerHTML;
  } catch {
    // Asked again below.
  }
  setTimeout(ask, Number(waits.dataset.again) * SECONDS);
}
ask();

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
