// Who waits, in the order of their turn; why, for whom, and what would help.

import * as api from "../api.js";
import { h, put } from "../dom.js";
import { asks, empty, failureBox, jobLink } from "../parts.js";
import { ago, label, methodOf, moment } from "../text.js";

/** Of so many the coordinator is asked to explain more than the reason. */
const MOST_EXPLAINED = 25;

export async function queue({ main, signal }) {
  const list = h("ol", { class: "queue", id: "queue" });
  const note = h("div");
  put(main, h("div", { class: "head" }, h("div", {}, h("h1", {}, "Queue"), h("p", { class: "lead" }, "Jobs that wait for devices, in the order of their turn, with the scheduler's own reason."))), note, h("section", { class: "card", "aria-label": "Jobs that wait" }, list));
  const refresh = async () => {
    try {
      const { jobs } = await api.jobs.list({ states: ["JOB_STATE_PENDING"], order_by: "priority desc, create_time", page_size: 200 }, signal);
      const explained = await Promise.all(jobs.slice(0, MOST_EXPLAINED).map((job) => api.jobs.explain({ job_id: job.id }, signal).then(({ explanation }) => explanation, () => null)));
      const rows = jobs.map((job, idx) => ({ job, explanation: explained[idx] }));
      rows.sort((a, b) => (a.explanation?.position || 1e9) - (b.explanation?.position || 1e9));
      put(note);
      put(list, rows.length ? rows.map(row) : h("li", { class: "visually-hidden" }, "nobody waits"));
      if (!rows.length) put(list, h("li", {}, h("span"), empty("Nobody waits", h("span", {}, "Whatever was submitted has its devices."))));
    } catch (error) {
      if (error.name !== "AbortError") put(note, failureBox(error));
    }
  };
  await refresh();
  const timer = setInterval(() => { if (!document.hidden) refresh(); }, 3000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function row({ job, explanation }) {
  const { priority, queue: name } = job.spec;
  const blockers = explanation?.blockers ?? [];
  const remedies = explanation?.remedies ?? [];
  return h("li", {},
    h("span", { class: "place", "aria-label": "place" }, explanation?.position || "·"),
    h("div", {},
      h("div", { class: "facts" }, h("strong", {}, jobLink(job.id, job.spec.name)), h("span", { class: "faint" }, job.id), h("span", {}, asks(job)), h("span", {}, methodOf(job)),
        h("span", {}, `queue ${name || "default"}`), h("span", {}, `priority ${priority ?? 0}`), h("span", {}, `submitted ${ago(moment(job.create_time))}`)),
      h("p", { class: "why" }, job.reason || explanation?.reason || "its turn comes with the next pass"),
      (blockers.length > 0 || remedies.length > 0) && h("div", { class: "help" },
        blockers.length > 0 && h("div", {}, h("span", { class: "soft" }, "Held up by "), join(blockers.map(blocker))),
        remedies.map((one) => h("div", {}, h("span", { class: "soft" }, "It would help to "), one.change, h("span", { class: "faint" }, ` → ${verdict(one.verdict)}`))))));
}

/** The sentence, with the job in it as a link. */
function blocker({ job_id: id, why }) {
  if (!id) return why;
  return why.startsWith(`${id} `) ? [jobLink(id), why.slice(id.length)] : [jobLink(id), ": ", why];
}

const VERDICTS = { starts: "it starts", preempts: "others give way to it", waits: "it waits for others", cannot: "nothing here could run it" };
const verdict = (name) => VERDICTS[label(name, "VERDICT_")] ?? label(name, "VERDICT_");

function join(parts) {
  return parts.flatMap((part, idx) => (idx ? ["; ", part] : [part]));
}
