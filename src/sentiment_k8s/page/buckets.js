// The answer of GET /stats, made ready to draw: buckets of time, and no more labels than colours.

import { formatClock, formatDay, formatMoment } from "./format.js";
import { inOrder, OTHERS, paint, TONES } from "./labels.js";

/**
 * `{ labels, buckets, totals, means }`. A bucket is `{ start, end, counts, means }`; counts and
 * means are arrays with a place for each label, a mean being null where there is nothing. Rare
 * labels are gathered into one.
 */
export function folded({ buckets, bucket_seconds: width, totals, mean_scores: means }) {
  const all = inOrder(totals);
  const byCount = [...all].sort(([, a], [, b]) => b - a).map(([label]) => label);
  const kept = new Set(byCount.slice(0, all.length > TONES ? TONES - 1 : TONES));
  paint([...kept]);
  const labels = all.map(([label]) => label).filter((label) => kept.has(label));
  const rest = byCount.filter((label) => !kept.has(label));
  const groups = labels.map((label) => [label]);
  if (rest.length) groups.push(rest);
  const valuesOf = (counts, means) => ({
    counts: groups.map((group) => sumOf(group.map((label) => counts[label] ?? 0))),
    means: groups.map((group) => meanOf(group, counts, means)),
  });
  return {
    labels: rest.length ? [...labels, OTHERS] : labels,
    buckets: buckets.map(({ start, counts, mean_scores }) => ({
      start: new Date(start),
      end: new Date(Date.parse(start) + width * 1000),
      ...valuesOf(counts, mean_scores),
    })),
    ...valuesOf(totals, means),
  };
}

/** The mean score of some labels together, each weighing as much as it counts; null of nothing. */
export function meanOf(labels, counts, means) {
  const present = labels.filter((label) => label in means); // rows by hand may have no score
  const total = sumOf(present.map((label) => counts[label]));
  return total ? sumOf(present.map((label) => counts[label] * means[label])) / total : null;
}

export const sumOf = (numbers) => numbers.reduce((sum, number) => sum + number, 0);

const isByDay = (buckets) => buckets.at(-1).end - buckets[0].start > 48 * 3600 * 1000;

/** What to write below the buckets, for plot.js. */
export function captionsOf(buckets) {
  const days = isByDay(buckets);
  let before = "";
  return buckets.flatMap(({ start }, index) => {
    const text = days ? formatDay(start) : formatClock(start);
    // By days a bucket is named when its day is new, and the first one, which may be cut, is not.
    const isNew = text !== before && !(days && index === 0);
    before = text;
    return isNew ? [{ at: index + 0.5, text }] : [];
  });
}

/** A bucket's time in words. */
export function spanOf({ start, end }, buckets) {
  const days = isByDay(buckets);
  if (days && end - start >= 86400000) return formatDay(start);
  return `${days ? formatMoment(start) : formatClock(start)} to ${formatClock(end)}`;
}
