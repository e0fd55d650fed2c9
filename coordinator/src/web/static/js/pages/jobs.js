// All jobs, newest first, by filter; some of them to be compared.

import * as api from "../api.js";
import { h, put } from "../dom.js";
import { empty, failureBox, jobBadge, progressBar, progressText } from "../parts.js";
import { ago, clock, isOver, methodOf, moment, number } from "../text.js";

const STATES = {
  all: [], active: ["JOB_STATE_PENDING", "JOB_STATE_STARTING", "JOB_STATE_RUNNING", "JOB_STATE_RECOVERING", "JOB_STATE_CANCELLING", "JOB_STATE_SUSPENDING", "JOB_STATE_SUSPENDED"],
  finished: ["JOB_STATE_SUCCEEDED"], failed: ["JOB_STATE_FAILED", "JOB_STATE_CANCELLED"],
};

export async function jobs({ main, signal, query, go }) {
  const chosen = new Set();
  let state = query.get("state") in STATES ? query.get("state") : "all";
  let filter = query.get("filter") ?? "";
  let pages = 1;
  const note = h("div");
  const body = h("tbody");
  const more = h("button", { hidden: true, onclick: () => { pages += 1; refresh(); } }, "Show more");
  const compare = h("button", { class: "primary", disabled: true, onclick: () => go(`/compare?jobs=${[...chosen].join(",")}`) }, "Compare");
  const choose = (id, isChosen) => {
    isChosen ? chosen.add(id) : chosen.delete(id);
    compare.disabled = chosen.size < 2;
    compare.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
  };
  const search = h("input", { type: "search", value: filter, placeholder: "state = running AND method = sce AND labels.team = vision", "aria-label": "Filter", spellcheck: "false", onchange: () => { filter = search.value.trim(); pages = 1; remember(); refresh(); } });
  const buttons = Object.keys(STATES).map((name) => h("button", { type: "button", "aria-pressed": String(name === state), onclick: () => {
    state = name;
    pages = 1;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.name === name));
    remember();
    refresh();
  }, "data-name": name }, name.charAt(0).toUpperCase() + name.slice(1)));
  const remember = () => {
    const kept = new URLSearchParams([["state", state], ["filter", filter]].filter(([, value]) => value && value !== "all"));
    history.replaceState(null, "", kept.size ? `/jobs?${kept}` : "/jobs");
  };
  put(main, h("div", { class: "head" }, h("h1", {}, "Jobs")),
    h("div", { class: "toolbar" }, search, h("div", { class: "segmented", role: "group", "aria-label": "State" }, buttons), compare), note,
    h("section", { class: "card table-wrap" }, h("table", { class: "cards", id: "jobs" },
      h("thead", {}, h("tr", {}, ["", "Job", "State", "Method", "Progress"].map((text) => h("th", { scope: "col" }, text || h("span", { class: "visually-hidden" }, "Choose"))),
        ["Loss", "kNN %", "Images/s", "Ranks", "Submitted"].map((text) => h("th", { scope: "col", class: "number" }, text)))), body)),
    h("p", { class: "empty" }, more));

  const refresh = async () => {
    try {
      const { jobs: found, next_page_token: next } = await api.jobs.list({ states: STATES[state], filter, page_size: Math.min(50 * pages, 1000) }, signal);
      put(note);
      more.hidden = !next;
      const cell = h("td", { colspan: 10, class: "wide" }, filter || state !== "all" ? empty("No job like that") : empty("No jobs yet", h("span", {}, "Submit one with ", h("code", {}, "kindred submit job.yaml"), ".")));
      put(body, found.length ? found.map((job) => row(job, chosen, choose)) : h("tr", {}, cell));
    } catch (error) {
      if (error.name !== "AbortError") put(note, failureBox(error));
    }
  };
  await refresh();
  const timer = setInterval(() => { if (!document.hidden && !body.contains(document.activeElement)) refresh(); }, 2500);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function row(job, chosen, choose) {
  const progress = job.progress ?? {};
  const knn = job.result?.metrics?.knn_accuracy_percent ?? progress.knn_accuracy_percent;
  const hasPoints = progress.images_per_s > 0;
  const box = h("input", { type: "checkbox", checked: chosen.has(job.id), "aria-label": `choose ${job.id}`, onchange: (event) => choose(job.id, event.target.checked) });
  return h("tr", { class: "go" },
    h("td", {}, box),
    h("td", { class: "name-cell" }, h("div", {}, h("a", { class: "row-link", href: `/jobs/${job.id}` }, job.spec.name)), h("div", { class: "small faint" }, job.id)),
    h("td", { title: job.reason }, jobBadge(job)),
    h("td", { class: "away" }, methodOf(job)),
    h("td", { class: "progress-cell wide" }, progress.total_steps ? [progressBar(job), h("div", { class: "small faint" }, progressText(job))] : h("span", { class: "small faint" }, isOver(job) ? "" : job.reason)),
    h("td", { class: "number away" }, hasPoints ? number(progress.loss) : "–"),
    h("td", { class: "number away" }, knn === null || knn === undefined ? "–" : knn.toFixed(1)),
    h("td", { class: "number away" }, hasPoints && !isOver(job) ? number(progress.images_per_s) : "–"),
    h("td", { class: "number away" }, job.placements?.length || job.spec.ranks || 1),
    h("td", { class: "number away nowrap", title: clock(moment(job.create_time)) }, ago(moment(job.create_time))));
}

