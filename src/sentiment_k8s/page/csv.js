// CSV as RFC 4180 has it, plus what spreadsheets do: a byte order mark, semicolons or tabs, and
// any line end.

const DELIMITERS = [",", ";", "\t"];
const TEXT_NAMES =
  /^(text|sentence|review|comment|content|message|body|title|tweet|utterance|input)s?$/i;

/** The text of a file's bytes: UTF-8, or UTF-16 when its byte order mark says so. */
export function decode(buffer) {
  const [first, second] = new Uint8Array(buffer);
  const encoding =
    first === 0xff && second === 0xfe
      ? "utf-16le"
      : first === 0xfe && second === 0xff
        ? "utf-16be"
        : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(buffer); // takes the mark away
  } catch {
    throw new Error("The file is not UTF-8. Save it as “CSV UTF-8” and choose it again.");
  }
}

/** The delimiter that stands most often, outside quotes, in the first row. */
export function delimiterOf(text) {
  const firstRow = text
    .slice(0, 65536)
    .replace(/"(?:[^"]|"")*"?/g, "")
    .split(/[\r\n]/, 1)[0];
  const uses = DELIMITERS.map((delimiter) => firstRow.split(delimiter).length);
  return DELIMITERS[uses.indexOf(Math.max(...uses))];
}

/** Rows of cells. Blank lines are left out. Throws when a quoted cell is never closed. */
export function parse(text, delimiter = delimiterOf(text)) {
  const rows = [];
  const cells = new RegExp(`[${delimiter}\\r\\n]`, "g");
  let row = [];
  let at = 0;
  while (at <= text.length) {
    let cell = "";
    if (text[at] === '"') {
      const start = at;
      for (at += 1; ; at += 1) {
        const quote = text.indexOf('"', at);
        if (quote === -1)
          throw new Error(`The quote opened in line ${lineOf(text, start)} is never closed.`);
        cell += text.slice(at, quote);
        at = quote + 1;
        if (text[at] !== '"') break;
        cell += '"';
      }
    }
    cells.lastIndex = at;
    const end = cells.exec(text)?.index ?? text.length;
    row.push(cell + text.slice(at, end)); // after a closing quote the rest is kept, as Excel does
    at = end + 1;
    if (text[end] === delimiter) continue;
    if (text[end] === "\r" && text[at] === "\n") at += 1;
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  }
  return rows;
}

function lineOf(text, at) {
  return text.slice(0, at).split(/\r\n|\r|\n/).length;
}

/** Whether the first row looks like names: it has one that we know, or all cells are short. */
export function looksLikeHeader(rows) {
  const [first = []] = rows;
  if (first.some((cell) => TEXT_NAMES.test(cell.trim()))) return true;
  return (
    first.length > 1 && first.every((cell) => /^[\p{L}_][\p{L}\p{N}_ .-]{0,39}$/u.test(cell.trim()))
  );
}

/** The column that most likely holds the text: by its name, else the one with the longest cells. */
export function textColumn(header, rows) {
  const named = header.findIndex((name) => TEXT_NAMES.test(name.trim()));
  if (named !== -1) return named;
  const sizes = header.map((_, column) =>
    rows.slice(0, 50).reduce((size, row) => size + (row[column]?.length ?? 0), 0),
  );
  return Math.max(0, sizes.indexOf(Math.max(...sizes)));
}

/**
 * Rows as CSV, with the byte order mark by which Excel knows UTF-8.
 *
 * A spreadsheet runs a cell that starts with = + - or @ (or a tab or line end before them) as a
 * formula, and the texts are written by strangers. Such cells get a leading apostrophe, which
 * spreadsheets take as "this is text" (https://owasp.org/www-community/attacks/CSV_Injection).
 * Our own numbers are left as they are: a negative score is no formula.
 */
export function write(rows) {
  return `\ufeff${rows.map((row) => `${row.map(cellOf).join(",")}\r\n`).join("")}`;
}

function cellOf(value) {
  if (typeof value === "number") return String(value);
  const guarded = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",;\r\n\t]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}
