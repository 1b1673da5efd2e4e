"use strict";
// The page is whole without this. With it, parts are kept current while somebody looks, and commands can be copied.

const main = document.querySelector("[data-live]");
const SECONDS = 1000;
let busy = false;
let events = null;

async function refresh() {
  if (busy || document.hidden) return;
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    // Signed out, or gone: what happens then is the browser's to show.
    if (answer.redirected || answer.status === 401) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      // What somebody is about to use, or has opened, stays under their hands.
      const inUse = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (other && !inUse && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
    }
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
    const answer = document.hidden ? null : await fetch(location.href, { headers: { accept: "text/html" } });
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
