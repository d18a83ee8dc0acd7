// Numbers and times as people read them. Fixed to English and 24 hours, like the rest of the page.

const counts = new Intl.NumberFormat("en");
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en", {
  dateStyle: "medium",
  timeStyle: "medium",
  hourCycle: "h23",
});

export const formatCount = (count) => counts.format(count);
export const formatClock = (date) => clock.format(date);
export const formatDay = (date) => day.format(date);
export const formatMoment = (date) => `${formatDay(date)}, ${formatClock(date)}`;
export const formatFull = (date) => full.format(date);

/** "1 text", "2 texts". */
export const plural = (count, noun) => `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;

/**
 * A score as a percentage, never rounded up to certainty or down to nothing.
 * A regression head's score is no share of anything, so it stays a plain number. Nothing for null.
 */
export function formatScore(score, isShare = true) {
  if (score === null) return "";
  if (!isShare || score < 0 || score > 1) return decimals.format(score);
  if (score >= 0.9995) return ">99.9%";
  if (score < 0.0005) return "<0.1%";
  return `${(score * 100).toFixed(1)}%`;
}

/** A share as a percentage. */
export const formatShare = (share) => `${(share * 100).toFixed(1)}%`;

/** A step of a scale: as a percentage when it is a share. */
export const formatTick = (tick, isShare = true) =>
  isShare ? `${decimals.format(tick * 100)}%` : decimals.format(tick);

/** Seconds as "14 ms", "1.4 s" or "3 min"; nothing for null. */
export function formatSeconds(seconds) {
  if (seconds === null) return "";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 100) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** Bytes as "820 B", "14 kB" or "3.2 MB". */
export function formatBytes(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1000)} kB`;
  return `${decimals.format(Math.round(bytes / 1e5) / 10)} MB`;
}

/** How long ago a date was, coarsely: rows must not flicker at each poll. */
export function formatAgo(date, now = Date.now()) {
  const seconds = Math.max(0, (now - date.getTime()) / 1000);
  if (seconds < 10) return "now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : formatDay(date);
}
