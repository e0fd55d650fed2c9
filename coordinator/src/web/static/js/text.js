// Numbers, times and names as people read them.

/** A figure in about four digits. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return compact(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size >= 100) return value.toFixed(1).replace(/\.0$/, "");
  if (size >= 1) return value.toFixed(3).replace(/\.?0+$/, "");
  if (size >= 0.001) return value.toFixed(5).replace(/\.?0+$/, "");
  return value.toExponential(2);
}

/** A large figure in few letters: 12.4k. */
export function compact(value) {
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= unit) return `${(value / unit).toFixed(1).replace(/\.0$/, "")}${letter}`;
  }
  return `${value}`;
}

export function whole(value) {
  return Math.round(value ?? 0).toLocaleString("en");
}

export function percent(share, digits = 0) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function bytes(size) {
  if (!size) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(size) / 10), 4);
  return `${(size / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

/** 3m07s, 2h05m, 4d03h. */
export function duration(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (all < 60) return `${all}s`;
  if (all < 3600) return `${Math.floor(all / 60)}m${two(all % 60)}s`;
  if (all < 86400) return `${Math.floor(all / 3600)}h${two(Math.floor((all % 3600) / 60))}m`;
  return `${Math.floor(all / 86400)}d${two(Math.floor((all % 86400) / 3600))}h`;
}

export function moment(text) {
  return text ? new Date(text).getTime() : null;
}

export function ago(time) {
  if (!time) return "–";
  const seconds = (Date.now() - time) / 1000;
  return seconds < 2 ? "now" : `${duration(seconds)} ago`;
}

/** The time of day, with the date where it is another one. */
export function clock(time) {
  const date = new Date(time);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("en", { month: "short", day: "numeric" })} `;
  return day + date.toLocaleTimeString("en-GB");
}

/** JOB_STATE_RUNNING → running. */
export function label(name, prefix) {
  return (name ?? "").replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

export const stateOf = (job) => label(job.state, "JOB_STATE_");
export const isOver = (job) => ["succeeded", "failed", "cancelled"].includes(stateOf(job));
export const isWaiting = (job) => ["pending", "suspended"].includes(stateOf(job));

/** The job's method, or that it measures. */
export function methodOf(job) {
  const method = job.spec?.recipe?.method ?? {};
  return Object.keys(method).find((name) => method[name]) ?? (job.spec?.evaluate ? "evaluation" : "–");
}

/** `knn_accuracy_percent` → kNN accuracy (%). */
export function seriesTitle(series) {
  const known = { lr: "Learning rate", images_per_s: "Images per second", knn_accuracy_percent: "kNN accuracy (%)" };
  if (known[series]) return known[series];
  const words = series.replace(/_percent$/, " (%)").replace(/_share$/, " (share)").replace(/_s$/, " (s)").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
