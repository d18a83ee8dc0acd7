// Small helpers to make elements. There is no innerHTML on this page: the texts that it shows are
// written by strangers, so they only ever become text nodes and attributes.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An HTML element; `attributes.text` is its text, the others are attributes. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element, made like `el`. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, { text, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

/** Show a sentence in a status line; `kind` is its look in page.css, such as "error". */
export function say(line, sentence, kind = "") {
  setText(line, sentence);
  line.dataset.kind = kind;
}

/** Set a text unless it is there: it would be read out again, and a selection in it be lost. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Fill a table: its names, and rows whose first cell names them. All but the first are numbers. */
export function fillTable(id, names, rows) {
  const side = (index) => (index ? "number end" : "");
  const head = names.map((text, index) => el("th", { scope: "col", class: side(index), text }));
  const line = ([name, ...values]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", text: name }),
      ...values.map((text) => el("td", { class: "number end", text })),
    );
  byId(id).tHead.replaceChildren(el("tr", {}, ...head));
  byId(id).tBodies[0].replaceChildren(...rows.map(line));
}

/** Have the browser save a blob as a file. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser reads it later
}
