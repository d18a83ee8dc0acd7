// Where many texts come from: the lines of a field, or a file.

import { decode, looksLikeHeader, parse, textColumn } from "./csv.js";
import { byId, el } from "./dom.js";
import { plural } from "./format.js";

const MAX_FILE = 64 * 1024 * 1024; // bytes; more belongs to `sentiment classify`

let table = null; // { name, rows } of the chosen file

/** Read a file and show its columns. Throws an Error whose message is a sentence. */
export async function openFile(file) {
  if (file.size > MAX_FILE) throw new Error("Over 64 MiB. Use `sentiment classify FILE` for it.");
  const text = decode(await file.arrayBuffer());
  const isPlain = /\.txt$/i.test(file.name);
  const rows = isPlain ? linesOf(text).map((line) => [line]) : parse(text);
  if (rows.length === 0) throw new Error(`${file.name} has no rows.`);
  table = { name: file.name, rows };
  byId("has-header").checked = looksLikeHeader(rows);
  showFile();
}

/** Have `zone` take files that are dropped on it: `open(file)` is called with the first. */
export function acceptDrops(zone, open) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  // A file dropped beside the zone would otherwise replace the page.
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => hasFiles(event) && event.preventDefault());
  }
  zone.addEventListener("dragover", (event) => zone.classList.toggle("dropping", hasFiles(event)));
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("dropping");
  });
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("dropping");
    if (hasFiles(event)) open(event.dataTransfer.files[0]);
  });
}

/** Go back to the field. */
export function closeFile() {
  table = null;
  byId("file").value = "";
  byId("many-file").hidden = true;
  byId("many-paste").hidden = false;
}

/** Show the file again after its first row was declared names, or not. */
export function showFile() {
  const { header, body } = split();
  byId("many-paste").hidden = true;
  byId("many-file").hidden = false;
  byId("file-name").textContent = table.name;
  byId("file-rows").textContent = plural(body.length, "row");
  const options = header.map((name, index) => el("option", { value: index, text: name }));
  byId("column").replaceChildren(...options);
  byId("column").value = String(textColumn(header, body));
  byId("column-field").hidden = header.length === 1;
  showSample();
}

/** Show the first text of the chosen column, so that a wrong choice is seen before it is sent. */
export function showSample() {
  const first = split().body[0]?.[byId("column").value] ?? "";
  byId("file-sample").textContent = first.length > 160 ? `${first.slice(0, 160)}…` : first;
}

/** The chosen texts: `{ name, header, items: [{ text, cells }] }`, `cells` being the file's row. */
export function chosen() {
  if (table === null) {
    const lines = linesOf(byId("lines").value).filter((line) => line.trim() !== "");
    const items = lines.map((text) => ({ text, cells: [text] }));
    return { name: "predictions", header: ["text"], items };
  }
  const { header, body } = split();
  const column = Number(byId("column").value);
  const items = body.map((row) => ({
    text: row[column] ?? "",
    cells: header.map((_, index) => row[index] ?? ""),
  }));
  return { name: `${table.name.replace(/\.[^.]*$/, "")}-predictions`, header, items };
}

function split() {
  const named = byId("has-header").checked;
  const width = table.rows.reduce((most, row) => Math.max(most, row.length), 0);
  const names = named ? table.rows[0] : [];
  const header = Array.from(
    { length: width },
    (_, index) => names[index]?.trim() || `Column ${index + 1}`,
  );
  return { header, body: named ? table.rows.slice(1) : table.rows };
}

const linesOf = (text) => text.split(/\r\n|\r|\n/).filter((line) => line !== "");
