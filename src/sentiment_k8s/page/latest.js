// The latest rows of the log. New ones appear at the top; those on the screen are never rebuilt,
// so that focus, an open row and a selection stay.

import { byId, el, setText } from "./dom.js";
import { feedbackForm, verdict } from "./feedback.js";
import { formatAgo, formatFull, formatSeconds } from "./format.js";
import { fillBars, inOrder, scoreText, tag } from "./labels.js";

const shown = new Map(); // id -> the row's element

/** Show the newest rows, newest first. Others go, unless `keepOthers`. */
export function showLatest(rows, keepOthers) {
  const list = byId("latest-rows");
  const wanted = new Set(rows.map(({ id }) => id));
  for (const [id, item] of shown) {
    if (keepOthers || wanted.has(id) || isInUse(item)) continue;
    item.remove();
    shown.delete(id);
  }
  const isFirst = shown.size === 0;
  let next = list.firstElementChild;
  for (const row of rows) {
    const item = shown.get(row.id);
    if (item) {
      next = item.nextElementSibling;
      setText(item.querySelector(".row-mark"), verdict(row));
    } else list.insertBefore(added(row, isFirst), next);
  }
  showAges(list);
}

/** Show rows that are older than all that are shown. */
export function showOlder(rows) {
  const others = rows.filter(({ id }) => !shown.has(id));
  byId("latest-rows").append(...others.map((row) => added(row, true)));
}

/** Whether one of these rows is on the screen. */
export const isShown = (rows) => rows.some(({ id }) => shown.has(id));

/** How many rows are on the screen. */
export const countShown = () => shown.size;

/** Forget the rows on the screen, because another choice of them comes. */
export function clearLatest() {
  byId("latest-rows").replaceChildren();
  shown.clear();
}

/** A row that somebody is reading stays, though newer ones have pushed it off the end. */
const isInUse = (item) =>
  item.contains(document.activeElement) || item.querySelector("details").open;

function added(row, isQuiet) {
  const text = el("span", { class: "row-text", dir: "auto", text: row.text });
  const score = el("span", { class: "number", text: scoreText(row.score) });
  const mark = el("span", { class: "hint row-mark", text: verdict(row) });
  const label = el("span", { class: "row-label" }, tag(row.prediction ?? "no label"), score, mark);
  const title = formatFull(new Date(row.created_at));
  const time = el("time", { class: "hint", datetime: row.created_at, title });
  const details = el("details", {}, el("summary", {}, text, label, time));
  // Filled when first opened: most rows never are.
  details.addEventListener("toggle", () => details.append(...more(row, mark)), { once: true });
  const item = el("li", { class: isQuiet ? "row" : "row fresh" }, details);
  shown.set(row.id, item);
  return item;
}

/** What made a row. One that was written by hand, as the book does, has only some of it. */
function more(row, mark) {
  const labelled = inOrder(row.scores ?? {}).map(([label, score]) => ({ label, score }));
  const scores = [...labelled].sort((a, b) => b.score - a.score);
  const facts = [
    ["Model", row.model],
    ["Revision", row.revision],
    ["Precision", row.precision],
    ["Engine", row.engine],
    ["Tokens", row.truncated ? `${row.tokens}, the text was cut` : row.tokens],
    ["Queue", formatSeconds(row.queue_seconds)],
    ["Inference", formatSeconds(row.inference_seconds)],
    ["Time", formatFull(new Date(row.created_at))],
    ["Id", row.id],
    ["Request", row.request_id],
    ["Subject", row.subject],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const bars = el("ul", { class: "bars small", "aria-label": "Every label with its score" });
  fillBars(bars, scores);
  const fact = ([name, value]) =>
    el("div", {}, el("dt", { text: name }), el("dd", { text: value }));
  const form = feedbackForm(
    row,
    labelled.map(({ label }) => label),
    (feedback) => {
      mark.textContent = verdict({ ...row, feedback });
    },
  );
  return [bars, el("dl", {}, ...facts.map(fact)), ...(scores.length ? [form] : [])];
}

function showAges(list) {
  for (const time of list.getElementsByTagName("time")) {
    setText(time, formatAgo(new Date(time.dateTime)));
  }
}
