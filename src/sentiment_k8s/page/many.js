// Many texts: a table that can be downloaded.

import { classifyAll } from "./chunks.js";
import { write } from "./csv.js";
import { byId, el, saveFile, say } from "./dom.js";
import { formatCount, formatSeconds, plural } from "./format.js";
import { inOrder, legend, scoreText, tag } from "./labels.js";
import { submitByKeys } from "./one.js";
import { acceptDrops, chosen, closeFile, openFile, showFile, showSample } from "./source.js";

const SHOWN = 1000; // rows in the table; a browser is slow with more, the download has all

let batch = null; // { name, header, items, answers }: what is or was being classified
let running = null; // the AbortController of the work going on

/** Wire the form, the drop zone and the buttons; `onEnd()` is called when all is answered. */
export function startMany(onEnd) {
  const form = byId("many-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running === null) begin(onEnd);
  });
  submitByKeys(byId("lines"), form);
  byId("file").addEventListener("change", (event) => open(event.target.files[0]));
  byId("file-remove").addEventListener("click", () => {
    closeFile();
    byId("lines").focus();
  });
  byId("has-header").addEventListener("change", showFile);
  byId("column").addEventListener("change", showSample);
  byId("many-cancel").addEventListener("click", () => running?.abort());
  byId("many-resume").addEventListener("click", () => work(onEnd));
  byId("many-download").addEventListener("click", download);
  acceptDrops(byId("many"), open);
}

async function open(file) {
  if (!file || running !== null) return;
  try {
    await openFile(file);
    say(byId("many-status"), "");
    byId("many-run").focus();
  } catch (error) {
    say(byId("many-status"), error.message, "error");
  }
}

function begin(onEnd) {
  const source = chosen();
  if (source.items.length === 0) {
    say(byId("many-status"), "Paste some lines or choose a file first.", "error");
    return;
  }
  const answers = source.items.map(({ text }) =>
    text.trim() === "" ? { error: "Blank, not sent." } : null,
  );
  batch = { ...source, answers };
  byId("many-rows").replaceChildren();
  byId("many-result").hidden = true;
  work(onEnd);
}

async function work(onEnd) {
  const waiting = batch.items
    .map((item, index) => ({ ...item, index }))
    .filter(({ index }) => !batch.answers[index]);
  const started = performance.now();
  const pace = { done: 0, seconds: () => (performance.now() - started) / 1000 };
  running = new AbortController();
  setBusy(true);
  const announced = `Classifying ${plural(waiting.length, "text")}.`;
  say(byId("many-status"), announced);
  showProgress(pace);
  try {
    await classifyAll(waiting, {
      signal: running.signal,
      onWait: (seconds) => {
        const sentence = `The server is busy. Going on in ${formatSeconds(seconds)}.`;
        say(byId("many-status"), sentence, "warning");
      },
      onAnswers: (piece, answers) => {
        piece.forEach(({ index }, at) => {
          batch.answers[index] = answers[at];
        });
        pace.done += piece.length;
        say(byId("many-status"), announced);
        showProgress(pace);
      },
    });
    finish("", "done", ` in ${formatSeconds(pace.seconds())}`);
  } catch (error) {
    if (running.signal.aborted) finish("Cancelled: ", "warning");
    else finish(`${error.message.replace(/\.$/, "")}: `, "error");
  } finally {
    running = null;
    setBusy(false);
    onEnd();
  }
}

function setBusy(busy) {
  // A control that has the focus goes away: hand it on, or the keyboard starts from the top.
  const leaving = busy ? ["many-run", "many-resume"] : ["many-cancel"];
  const hadFocus = leaving.includes(document.activeElement.id);
  byId("many-progress").hidden = !busy;
  if (busy) byId("many-resume").hidden = true;
  for (const id of ["many-run", "file", "file-remove"]) byId(id).disabled = busy;
  if (hadFocus) byId(busy ? "many-cancel" : "many-download").focus({ preventScroll: true });
}

function showProgress({ done, seconds }) {
  const total = batch.items.length;
  const answered = batch.answers.filter(Boolean).length;
  const rate = done / seconds();
  const left = (total - answered) / rate;
  byId("many-bar").max = total;
  byId("many-bar").value = answered;
  byId("many-count").textContent =
    `${formatCount(answered)} of ${formatCount(total)}` +
    (done > 0 && left > 0
      ? `, ${formatCount(Math.round(rate))} a second, ${formatSeconds(left)} left`
      : "");
  showRows();
}

function showRows() {
  const body = byId("many-rows");
  // Pieces are answered in order, so the table only ever grows at its end.
  while (body.childElementCount < Math.min(SHOWN, batch.items.length)) {
    const index = body.childElementCount;
    if (!batch.answers[index]) break;
    body.append(rowOf(index));
  }
  byId("many-result").hidden = !batch.answers.some(Boolean);
  byId("many-legend").replaceChildren(...legend(inOrder(countByLabel())));
  byId("many-more").hidden = batch.items.length <= SHOWN;
  const all = formatCount(batch.items.length);
  byId("many-more").textContent =
    `The first ${formatCount(SHOWN)} rows are shown. The download has all ${all}.`;
}

function rowOf(index) {
  const { text } = batch.items[index];
  const answer = batch.answers[index];
  const words = el("td", { class: "text", dir: "auto", text });
  const number = el("td", { class: "index number", text: formatCount(index + 1) });
  if (answer.error) {
    const refused = el("td", { colspan: 2, class: "refused", text: answer.error });
    return el("tr", {}, number, words, refused);
  }
  if (answer.truncated) {
    words.append(el("span", { class: "note", text: "Cut at the model’s length" }));
  }
  const label = el("td", {}, tag(answer.prediction));
  const score = el("td", { class: "number end", text: scoreText(answer.score) });
  return el("tr", {}, number, words, label, score);
}

function countByLabel() {
  const counts = Object.create(null); // a label may have any name, also that of a method
  for (const answer of batch.answers) {
    if (answer?.prediction) counts[answer.prediction] = (counts[answer.prediction] ?? 0) + 1;
  }
  return counts;
}

function finish(before, kind, pace = "") {
  const open = batch.answers.filter((answer) => !answer).length;
  const answered = batch.answers.filter((answer) => answer?.prediction).length;
  const failed = batch.answers.length - open - answered;
  const cut = batch.answers.filter((answer) => answer?.truncated).length;
  const parts = [
    `${before}${plural(answered, "text")} classified${pace}`,
    failed && `${formatCount(failed)} without an answer`,
    cut && `${formatCount(cut)} cut at the model’s length`,
    open && `${formatCount(open)} not sent`,
  ];
  const sentence = `${parts.filter(Boolean).join(", ")}.`;
  say(byId("many-status"), sentence, failed && kind === "done" ? "warning" : kind);
  byId("many-result").hidden = false; // also without a row: the way to go on is in it
  byId("many-resume").hidden = open === 0;
  byId("many-resume").textContent = `Go on with ${formatCount(open)}`;
}

function download() {
  const header = [...batch.header, "prediction", "score", "truncated", "id", "error"];
  const rows = batch.items.map(({ cells }, index) => {
    const answer = batch.answers[index] ?? { error: "Not sent." };
    const { prediction = "", score = "", truncated = "", id, error = "" } = answer;
    return [...cells, prediction, score, String(truncated), id ?? "", error];
  });
  const file = new Blob([write([header, ...rows])], { type: "text/csv;charset=utf-8" });
  saveFile(file, `${batch.name}.csv`);
}
