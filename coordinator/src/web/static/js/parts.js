// Parts that several pages show.

import { h } from "./dom.js";
import { clock, duration, isOver, label, moment, stateOf, whole } from "./text.js";

const TONES = {
  running: "live", starting: "live", recovering: "warn", pending: "warn", suspending: "warn", suspended: "", cancelling: "warn",
  succeeded: "good", failed: "bad", cancelled: "", ready: "good", suspect: "warn", lost: "bad", leaving: "",
};

export function badge(state) {
  return h("span", { class: `badge ${TONES[state] ?? ""}` }, state);
}

export const jobBadge = (job) => badge(stateOf(job));

/** A colour per job, the same on all pages. */
export function tone(id) {
  const digits = Number((id.match(/\d+$/) ?? ["0"])[0]);
  return `k${digits % 7}`;
}

export function progressBar(job) {
  const { step = 0, total_steps: total = 0 } = job.progress ?? {};
  const isDone = stateOf(job) === "succeeded";
  const bar = h("progress", { class: isDone ? "done" : "", max: Math.max(total, 1), value: isDone ? Math.max(total, 1) : step });
  bar.setAttribute("aria-label", `step ${step} of ${total}`);
  return bar;
}

/** step 120 of 1,404 · epoch 0.5 of 6 · 3m to go */
export function progressText(job) {
  const progress = job.progress;
  if (!progress?.total_steps) return "";
  const parts = [`step ${whole(progress.step)} of ${whole(progress.total_steps)}`];
  if (progress.total_epochs) parts.push(`epoch ${progress.epoch.toFixed(1)} of ${progress.total_epochs}`);
  if (progress.eta_s !== null && progress.eta_s !== undefined && !isOver(job)) parts.push(`${duration(progress.eta_s)} to go`);
  return parts.join(" · ");
}

export function tile(name, value, detail) {
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value, detail && h("small", {}, ` ${detail}`)));
}

export function jobLink(id, text) {
  return h("a", { class: "link", href: `/jobs/${encodeURIComponent(id)}` }, text ?? id);
}

const BAD_EVENTS = /FAILED|LOST|FAULTED|QUARANTINED|GENERATION_ENDED/;

export function eventItem(event) {
  const at = moment(event.time);
  const about = event.job_id ? [jobLink(event.job_id), " "] : [];
  return h("li", {},
    h("time", { datetime: event.time, title: [clock(at), event.node_id].filter(Boolean).join(" · ") }, new Date(at).toLocaleTimeString("en-GB")),
    h("span", { class: BAD_EVENTS.test(event.kind) ? "bad" : "" }, about, event.message, event.caller && h("span", { class: "faint" }, ` · ${event.caller}`)));
}

/** 1 fault, 2 faults */
export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** Why something is not there, or an invitation. */
export function empty(title, ...rest) {
  return h("div", { class: "empty" }, h("strong", {}, title), rest);
}

export function failureBox(error) {
  return h("p", { class: "error", role: "alert" }, error.message);
}

/** 2 ranks on cuda */
export function asks(job) {
  const { ranks = 1, min_ranks: least, max_ranks: most, device } = job.spec ?? {};
  const range = least !== most && least && most ? `${least}–${most}` : `${ranks}`;
  return `${range} rank${range === "1" ? "" : "s"} on ${label(device, "DEVICE_KIND_") || "cpu"}`;
}
