// The log's side of the page: whether it may be read, and its newest rows every two seconds.

import { forgetToken, getPredictions, keepToken, readToken } from "./api.js";
import { byId, el, say } from "./dom.js";
import { startDownload } from "./download.js";
import { readFigures, startFigures, stopFigures } from "./figures.js";
import { filters, offer, startFilters } from "./filters.js";
import { clearLatest, showLatest } from "./latest.js";
import { pausePolls, poller } from "./poll.js";

const POLL = 2000; // ms
const ROWS = 20; // and as many more at each wish
const MOST_ROWS = 500; // that the server gives at once; a download has all
const NOTHING_RECORDED =
  "Nothing is recorded: this server answers and keeps nothing. " +
  "Set DATABASE_URL, or SENTIMENT_RECORD, to keep predictions.";

const rows = poller(read, () => POLL);
let paused = false;
let limit = ROWS;
let writable = null; // null until the server has said

/** Wire the log's controls. Nothing is read before `setRecord` says that there is a log. */
export function startLog() {
  startFigures(({ totals }) => offer(Object.keys(totals), []));
  startFilters(showOther);
  startDownload();
  byId("latest-more").addEventListener("click", () => {
    limit = Math.min(MOST_ROWS, limit + ROWS);
    rows.now();
  });
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
    const found = await getPredictions(limit, asked);
    if (!isStale()) show(found, asked);
  } catch (error) {
    if (!isStale()) refuse(error);
  }
}

function show(found, asked) {
  open();
  say(byId("latest-status"), "");
  offer(
    [],
    found.map(({ model }) => model),
  );
  const isChosen = Object.keys(asked).length > 0;
  showLatest(
    found,
    isChosen ? "No prediction is like that." : "Nothing yet. The next prediction appears here.",
  );
  byId("latest-more").hidden = found.length < limit || limit === MOST_ROWS;
}

function showOther() {
  limit = ROWS;
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
