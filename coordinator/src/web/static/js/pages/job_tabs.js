// What a job has saved, and what it was told.

import * as api from "../api.js";
import { h, put, toast } from "../dom.js";
import { empty, failureBox } from "../parts.js";
import { bytes, clock, whole } from "../text.js";

export async function checkpointsTab(panel, id, signal, may) {
  const show = async () => {
    try {
      const found = await api.all(api.jobs.checkpoints, { job_id: id }, "checkpoints", signal);
      put(panel, h("section", { class: "card table-wrap" }, found.length ? table(found, id, may, show) : empty("No checkpoints yet")));
    } catch (error) {
      if (error.name !== "AbortError") put(panel, failureBox(error));
    }
  };
  await show();
}

function table(found, id, may, show) {
  const pin = async (checkpoint) => {
    try {
      await api.jobs.pin({ job_id: id, checkpoint_id: checkpoint.id, unpin: checkpoint.pinned });
      toast(checkpoint.pinned ? `${checkpoint.id} is left to the job's policy` : `${checkpoint.id} is kept`);
      show();
    } catch (error) { toast(error.message, true); }
  };
  return h("table", { class: "cards" },
    h("thead", {}, h("tr", {}, ["Checkpoint", "Step", "kNN %", "Size", "Written", "Where", ""].map((text, idx) => h("th", { scope: "col", class: idx > 0 && idx < 5 ? "number" : "" }, text || h("span", { class: "visually-hidden" }, "Actions"))))),
    h("tbody", {}, found.map((one) => h("tr", {},
      h("td", { class: "wide mono nowrap" }, one.id, one.pinned && [" ", h("span", { class: "chip" }, "pinned")]),
      h("td", { class: "number away" }, whole(one.step)),
      h("td", { class: "number" }, one.knn_accuracy_percent === null || one.knn_accuracy_percent === undefined ? "–" : one.knn_accuracy_percent.toFixed(1)),
      h("td", { class: "number" }, bytes(one.size_bytes)), h("td", { class: "number nowrap" }, clock(one.time_unix_ms)),
      h("td", { class: "small soft wide" }, one.url || `${one.node_id} ${one.path}`),
      h("td", {}, may("submitter") && h("button", { class: "plain", onclick: () => pin(one) }, one.pinned ? "Unpin" : "Pin"))))));
}

export async function recipeTab(panel, id, signal) {
  try {
    const { departures, yaml } = await api.jobs.departures(id, signal);
    const text = (value) => (value === null || value === undefined ? "required" : typeof value === "object" ? JSON.stringify(value) : String(value));
    put(panel, h("div", { class: "recipe" },
      h("section", { class: "card", "aria-label": "Differences from the defaults" },
        h("div", { class: "pad" }, h("h2", {}, "Differences from the defaults"), h("p", { class: "small soft" }, "Everything else is as the method's authors, or this project, publish it.")),
        departures.length ? departures.map((one) => h("div", { class: "departure" }, h("code", {}, one.field), h("span", {}, one.default !== null && [h("s", { class: "faint" }, text(one.default)), h("span", { class: "arrow" }, "→")], h("strong", {}, text(one.value)))))
          : empty("All values are defaults")),
      h("section", { class: "card", "aria-label": "The whole job" }, h("div", { class: "pad node-head" }, h("h2", {}, "The whole job"), h("button", { class: "plain", onclick: () => navigator.clipboard.writeText(yaml).then(() => toast("copied"), () => toast("the browser does not let pages copy here", true)) }, "Copy")), h("pre", { tabindex: "0" }, yaml))));
  } catch (error) {
    if (error.name !== "AbortError") put(panel, failureBox(error));
  }
}
