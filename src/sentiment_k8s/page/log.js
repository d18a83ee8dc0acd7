// The log's side of the page: when it may be read, it is read every two seconds.

import { forgetToken, getPredictions, getStats, keepToken, readToken } from "./api.js";
import { drawStats, watchChart } from "./chart.js";
import { byId, el, say } from "./dom.js";
import { modelLabels } from "./labels.js";
import { clearLatest, showLatest } from "./latest.js";

const POLL = 2000; // ms
const STATS_POLLS = 5; // the chart is read at every fifth poll: it costs the database more
const ROWS = 20;
const NOTHING_RECORDED =
  "Nothing is recorded: this server answers and keeps nothing. " +
  "Set DATABASE_URL, or SENTIMENT_RECORD, to keep predictions.";

let timer = 0;
let polls = 0;
let paused = false;
let recording = null; // null until the server has said

/** Wire the log's controls. Nothing is read before `setRecording` says that there is a log. */
export function startLog() {
  watchChart();
  byId("pause").addEventListener("click", togglePause);
  byId("hours").addEventListener("change", readNow);
  byId("label-filter").addEventListener("change", () => {
    clearLatest();
    readNow();
  });
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    openWithToken();
  });
  byId("token-forget").addEventListener("click", () => {
    forgetToken();
    readNow();
  });
  byId("log-again").addEventListener("click", readNow);
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : refresh()));
}

/** Take over from /health whether predictions are recorded at all. */
export function setRecording(isOn) {
  if (recording === isOn) return;
  recording = isOn;
  if (isOn) readNow();
  else close(NOTHING_RECORDED);
}

/** Read soon, because this page has just caused a row; not while paused. */
export function refresh() {
  if (recording && !paused && !document.hidden && isOpen()) readNow();
}

const isOpen = () => !byId("latest").hidden;

function stop() {
  clearTimeout(timer);
  timer = 0;
}

function readNow() {
  polls = 0;
  stop();
  read();
}

let reading = false;
let again = false;

async function read() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  again = false;
  const hours = byId("hours");
  const label = byId("label-filter").value;
  try {
    const rows = await getPredictions(ROWS, label);
    const isStatsPoll = polls % STATS_POLLS === 0;
    const stats = isStatsPoll
      ? await getStats(hours.value, hours.selectedOptions[0].dataset.buckets)
      : null;
    polls += 1;
    if (!again) show(rows, stats);
  } catch (error) {
    refuse(error);
  } finally {
    reading = false;
    if (again) readNow();
    else if (isOpen() && !paused && !document.hidden) timer = setTimeout(read, POLL);
  }
}

function show(rows, stats) {
  open();
  say(byId("latest-status"), "");
  if (stats) {
    drawStats(stats); // first: it says which labels get a colour
    offerLabels(Object.keys(stats.totals));
  }
  showLatest(rows);
}

function open() {
  if (isOpen()) return;
  const wasInForm = byId("log-closed").contains(document.activeElement);
  byId("log-closed").hidden = true;
  byId("time").hidden = false;
  byId("latest").hidden = false;
  byId("token-forget").hidden = readToken() === null;
  if (wasInForm) byId("latest-title").focus(); // the form that had the focus is gone
}

function close(sentence, { token = false, retry = false, kind = "" } = {}) {
  const wasInside = byId("log").contains(document.activeElement);
  stop();
  byId("time").hidden = true;
  byId("latest").hidden = true;
  byId("token-forget").hidden = true;
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
  readNow();
}

function togglePause() {
  paused = !paused;
  byId("pause").replaceChildren(
    paused ? "Resume" : "Pause",
    el("span", { class: "unseen", text: " live updates" }),
  );
  byId("live").classList.toggle("paused", paused);
  byId("live-word").textContent = paused ? "Paused" : "Live";
  if (paused) stop();
  else readNow();
}

/** Fill the choice of labels: the model's, and those that earlier models have left in the log. */
function offerLabels(logged) {
  const choice = byId("label-filter");
  const known = new Set([...choice.options].map(({ value }) => value));
  const labels = [...new Set([...modelLabels(), ...logged])].filter((label) => !known.has(label));
  choice.append(...labels.map((label) => el("option", { value: label, text: label })));
}
