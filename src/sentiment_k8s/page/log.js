// The log's side of the page: whether it may be read, and its newest rows every two seconds.

import { forgetToken, getPredictions, keepToken, readToken } from "./api.js";
import { byId, el, say } from "./dom.js";
import { startDownload } from "./download.js";
import { readFigures, startFigures, stopFigures } from "./figures.js";
import { filters, offerLabels, offerModels, startFilters } from "./filters.js";
import { clearLatest, countShown, isShown, showLatest, showOlder } from "./latest.js";
import { pausePolls, poller } from "./poll.js";

const POLL = 2000; // ms
const ROWS = 20; // a page
const MOST_PAGES = 10; // without a row, at a wish for older ones
const MOST_ROWS = 1000; // on the screen; a download has all
const NOTHING_RECORDED =
  "Nothing is recorded: this server answers and keeps nothing. " +
  "Set DATABASE_URL, or SENTIMENT_RECORD, to keep predictions.";

const rows = poller(read, () => POLL);
let paused = false;
let older = null; // the cursor of the page below the rows on the screen
let hasOlder = false; // whether there is more than the newest page on the screen
let away = () => {};
let writable = null; // null until the server has said

/**
 * Wire the log's controls. Nothing is read before `setRecord` says that there is a log.
 * `onAway()` is called when it cannot be read just now.
 */
export function startLog(onAway) {
  away = onAway;
  startFigures(({ totals }) => offerLabels(Object.keys(totals)));
  startFilters(showOther);
  startDownload();
  byId("latest-more").addEventListener("click", readOlder);
  byId("pause").addEventListener("click", togglePause);
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    openWithToken();
  });
  byId("token-forget").addEventListener("click", () => {
    forgetToken();
    rows.now();
  });
  byId("log-again").addEventListener("click", rows.now);
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : refresh()));
}

/** Take over from /health whether predictions are recorded, and can be now. */
export function setRecord({ mode, available }) {
  if (writable === available) return;
  writable = available;
  if (mode === "off") close(NOTHING_RECORDED);
  else if (isOpen()) refresh();
  else rows.now();
}

/** Read soon, because this page has just caused a row; not while paused. */
export function refresh() {
  if (paused || document.hidden || !isOpen()) return;
  rows.now();
  readFigures();
}

const isOpen = () => !byId("latest").hidden;

function stop() {
  rows.stop();
  stopFigures();
}

async function read(isStale) {
  const asked = filters();
  try {
    const page = await getPredictions({ limit: ROWS, ...asked });
    if (!isStale()) show(page, asked);
  } catch (error) {
    if (!isStale()) refuse(error);
  }
}

function show({ predictions, next }, asked) {
  open();
  say(byId("latest-status"), "");
  offerModels(predictions.map(({ model }) => model));
  // Older rows stay below the newest, unless so many came that there is a gap between them.
  const isGap = predictions.length > 0 && !isShown(predictions);
  if (isGap || countShown() > MOST_ROWS) hasOlder = false;
  showLatest(predictions, hasOlder);
  if (!hasOlder) older = next;
  sayWhatIsLeft(asked);
}

async function readOlder() {
  const asked = filters();
  hasOlder = true; // already now, or a poll might take away the row that they follow
  try {
    // A page may be empty and yet not the last: the server looks at so many rows for each.
    for (let pages = 0; pages < MOST_PAGES && older !== null; pages += 1) {
      const { predictions, next } = await getPredictions({ limit: ROWS, cursor: older, ...asked });
      if (JSON.stringify(asked) !== JSON.stringify(filters())) return; // another choice was made
      showOlder(predictions);
      older = next;
      if (predictions.length > 0) break;
    }
    sayWhatIsLeft(asked);
  } catch (error) {
    refuse(error);
  }
}

function sayWhatIsLeft(asked) {
  const button = byId("latest-more");
  if (older === null && document.activeElement === button) byId("latest-title").focus();
  button.hidden = older === null;
  const nothing = Object.keys(asked).length
    ? "No prediction is like that."
    : "Nothing yet. The next prediction appears here.";
  const sentence = older === null ? nothing : "None among the newest: there are older ones.";
  byId("latest-empty").textContent = countShown() > 0 ? "" : sentence;
}

function showOther() {
  hasOlder = false;
  clearLatest();
  rows.now();
}

function open() {
  if (isOpen()) return;
  const wasInForm = byId("log-closed").contains(document.activeElement);
  for (const id of ["figures", "latest", "one-feedback"]) byId(id).hidden = false;
  byId("log-closed").hidden = true;
  byId("token-forget").hidden = readToken() === null;
  if (wasInForm) byId("latest-title").focus(); // the form that had the focus is gone
  readFigures();
}

function close(sentence, { token = false, retry = false, kind = "" } = {}) {
  const wasInside = byId("log").contains(document.activeElement);
  stop();
  for (const id of ["figures", "latest", "one-feedback", "token-forget"]) byId(id).hidden = true;
  byId("log-closed").hidden = false;
  byId("token-form").hidden = !token;
  byId("log-again").hidden = !retry;
  say(byId("log-message"), sentence, kind);
  if (token && wasInside) byId("token").focus();
}

function refuse(error) {
  if (error.status === 503) away();
  if (error.status === 401) askForToken();
  else if (error.status === 403) close(error.message, { retry: true });
  else if (!isOpen()) close(error.message, { retry: true, kind: "error" });
  else say(byId("latest-status"), error.message, "error"); // what was read stays readable
}

function askForToken() {
  const wasRefused = readToken() !== null;
  forgetToken();
  clearLatest();
  close(
    wasRefused
      ? "The server does not take this token."
      : "Reading the log needs the read token (SENTIMENT_READ_TOKEN).",
    { token: true, kind: wasRefused ? "error" : "" },
  );
}

function openWithToken() {
  const field = byId("token");
  if (field.value.trim() === "") {
    field.focus();
    return;
  }
  keepToken(field.value.trim());
  field.value = "";
  rows.now();
}

function togglePause() {
  paused = !paused;
  pausePolls(paused);
  byId("pause").replaceChildren(
    paused ? "Resume" : "Pause",
    el("span", { class: "unseen", text: " live updates" }),
  );
  byId("live").classList.toggle("paused", paused);
  byId("live-word").textContent = paused ? "Paused" : "Live";
  if (paused) stop();
  else refresh();
}
