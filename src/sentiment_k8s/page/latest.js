// The latest rows of the log. New ones appear at the top; those on the screen are never rebuilt,
// so that focus, an open row and a selection stay.

import { byId, el } from "./dom.js";
import { formatAgo, formatFull, formatSeconds } from "./format.js";
import { fillBars, inOrder, scoreText, tag } from "./labels.js";

const shown = new Map(); // id -> the row's element

/** Show rows, newest first. */
export function showLatest(rows) {
  const list = byId("latest-rows");
  const wanted = new Set(rows.map(({ id }) => id));
  for (const [id, item] of shown) {
    if (wanted.has(id) || isInUse(item)) continue;
    item.remove();
    shown.delete(id);
  }
  const isFirst = shown.size === 0;
  let next = list.firstElementChild;
  for (const row of rows) {
    const item = shown.get(row.id);
    if (item) next = item.nextElementSibling;
    else list.insertBefore(added(row, isFirst), next);
  }
  showAges(list);
  byId("latest-empty").hidden = rows.length > 0;
}

/** Forget the rows on the screen, because another choice of them comes. */
export function clearLatest() {
  byId("latest-rows").replaceChildren();
  shown.clear();
}

/** A row that somebody is reading stays, though newer ones have pushed it off the end. */
const isInUse = (item) => item.contains(document.activeElement) || item.querySelector("details").open;

function added(row, isFirst) {
  const details = el("details", {}, el("summary", {},
    el("span", { class: "row-text", dir: "auto", text: row.text }),
    el("span", { class: "row-label" }, tag(row.prediction), el("span", { class: "number", text: scoreText(row.score) })),
    el("time", { class: "hint", datetime: row.created_at, title: formatFull(new Date(row.created_at)) })));
  // Filled when first opened: most rows never are.
  details.addEventListener("toggle", () => details.append(...more(row)), { once: true });
  const item = el("li", { class: isFirst ? "row" : "row fresh" }, details);
  shown.set(row.id, item);
  return item;
}

function more(row) {
  const scores = inOrder(row.scores).map(([label, score]) => ({ label, score })).sort((a, b) => b.score - a.score);
  const facts = [
    ["Model", `${row.model} ${row.revision}`],
    ["Precision", row.precision],
    ["Tokens", `${row.tokens}${row.truncated ? ", the text was cut" : ""}`],
    ["Queue", formatSeconds(row.queue_seconds)],
    ["Inference", formatSeconds(row.inference_seconds)],
    ["Time", formatFull(new Date(row.created_at))],
    ["Id", row.id],
    ["Request", row.request_id],
    ...(row.subject ? [["Subject", row.subject]] : []),
  ];
  const bars = el("ul", { class: "bars small", "aria-label": "Every label with its score" });
  fillBars(bars, scores);
  return [
    bars,
    el("dl", {}, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })))),
  ];
}

function showAges(list) {
  for (const time of list.getElementsByTagName("time")) {
    const words = formatAgo(new Date(time.dateTime));
    if (time.textContent !== words) time.textContent = words;
  }
}
