// Several jobs: the same series in one chart, what they reached, and where their files differ.

import * as api from "../api.js";
import { Board } from "../curves.js";
import { h, put } from "../dom.js";
import { empty, failureBox, jobBadge, jobLink } from "../parts.js";
import { isOver, methodOf, number } from "../text.js";

const MOST = 7;

export async function compare({ main, signal, query, go }) {
  const ids = (query.get("jobs") ?? "").split(",").map((id) => id.trim()).filter(Boolean).slice(0, MOST);
  const input = h("input", { type: "text", value: ids.join(", "), placeholder: "job-1, job-2", "aria-label": "Jobs to compare", spellcheck: "false" });
  const submit = (event) => { event.preventDefault(); go(`/compare?jobs=${input.value.split(/[\s,]+/).filter(Boolean).join(",")}`); };
  const content = h("div");
  put(main, h("div", { class: "head" }, h("h1", {}, "Compare")), h("form", { class: "toolbar two", onsubmit: submit }, input, h("button", { class: "primary", type: "submit" }, "Compare")), content);
  if (ids.length < 1) {
    put(content, h("div", { class: "card" }, empty("Which jobs?", h("span", {}, "Name them above, or choose some on the page of all ", h("a", { class: "link", href: "/jobs" }, "jobs"), "."))));
    return;
  }
  try {
    const found = await Promise.all(ids.map((id) => api.jobs.get({ job_id: id }, signal).then(({ job }) => job)));
    const board = new Board(found.map((job, idx) => ({ id: job.id, label: `${job.id} ${job.spec.name}`, tone: `k${idx}` })), signal);
    put(content, results(found), differences(found), h("div", { class: "section-head" }, h("h2", {}, "Curves")), board.element);
    board.refresh();
    const timer = setInterval(() => { if (!document.hidden && found.some((job) => !isOver(job))) board.refresh(); }, 3000);
    signal.addEventListener("abort", () => clearInterval(timer));
  } catch (error) {
    if (error.name !== "AbortError") put(content, failureBox(error));
  }
}

const heads = (found) => found.map((job, idx) => h("th", { scope: "col", class: `number k${idx}` }, h("span", { class: "legend" }, h("span", {}, h("i"), jobLink(job.id)))));

function results(found) {
  const names = [...new Set(found.flatMap((job) => Object.keys(job.result?.metrics ?? {})))].sort();
  const rows = [
    ["name", (job) => job.spec.name], ["state", jobBadge], ["method", methodOf],
    ["step", (job) => (job.progress?.total_steps ? `${job.progress.step} of ${job.progress.total_steps}` : "–")],
    ["loss", (job) => (job.progress?.loss ? number(job.progress.loss) : "–")],
    ["goodput", (job) => (job.ledger?.goodput === null || job.ledger?.goodput === undefined ? "–" : `${(100 * job.ledger.goodput).toFixed(1)} %`)],
    ...names.map((name) => [name, (job) => number(job.result?.metrics?.[name])]),
  ];
  return h("section", { class: "card table-wrap", "aria-label": "Results" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Results"), heads(found))),
    h("tbody", {}, rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), found.map((job) => h("td", { class: "number" }, value(job))))))));
}

/** The values of a tree by their paths. */
function flatten(tree, path, into) {
  if (tree !== null && typeof tree === "object" && !Array.isArray(tree)) {
    for (const [key, value] of Object.entries(tree)) flatten(value, path ? `${path}.${key}` : key, into);
  } else if (tree !== null) into.set(path, Array.isArray(tree) ? JSON.stringify(tree) : String(tree));
  return into;
}

function differences(found) {
  const trees = found.map((job) => flatten({ ...job.spec, name: null, labels: null }, "", new Map()));
  const fields = [...new Set(trees.flatMap((tree) => [...tree.keys()]))].filter((field) => new Set(trees.map((tree) => tree.get(field))).size > 1).sort();
  return h("div", {}, h("div", { class: "section-head" }, h("h2", {}, "Where they differ")),
    h("section", { class: "card table-wrap", "aria-label": "Differences" }, !fields.length ? empty("Their files say the same") : h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Field"), heads(found))),
      h("tbody", {}, fields.map((field) => h("tr", {}, h("th", { scope: "row", class: "mono" }, field), trees.map((tree) => h("td", { class: "number" }, tree.get(field) ?? "–"))))))));
}
