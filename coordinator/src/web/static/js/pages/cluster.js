// Nodes with their devices, and what happens.

import * as api from "../api.js";
import { ask } from "../dialog.js";
import { h, put, toast } from "../dom.js";
import { badge, empty, eventItem, failureBox, tile, tone } from "../parts.js";
import { ago, bytes, label, moment, stateOf } from "../text.js";

const MOST_EVENTS = 60;

export async function cluster({ main, signal, may }) {
  const tiles = h("dl", { class: "card tiles", "aria-label": "The cluster at a glance" });
  const grid = h("div", { class: "nodes", id: "nodes" });
  const list = h("ul", { class: "events", id: "events" });
  const note = h("div");
  put(main, h("div", { class: "head" }, h("h1", {}, "Cluster")), note, tiles,
    h("div", { class: "split" },
      h("section", {}, h("div", { class: "section-head" }, h("h2", {}, "Nodes")), grid),
      h("section", {}, h("div", { class: "section-head" }, h("h2", {}, "What happens")), h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Events" }, list))));

  const refresh = async () => {
    try {
      const [nodes, jobs] = await Promise.all([
        api.all(api.nodes.list, {}, "nodes", signal),
        api.jobs.list({ page_size: 1000, states: ["JOB_STATE_PENDING", "JOB_STATE_STARTING", "JOB_STATE_RUNNING", "JOB_STATE_RECOVERING", "JOB_STATE_SUSPENDING", "JOB_STATE_CANCELLING"] }, signal)]);
      put(note);
      showTiles(tiles, nodes, jobs.jobs);
      put(grid, nodes.length ? nodes.map((node) => card(node, may, refresh)) : h("div", { class: "card" }, empty("No nodes yet", h("span", {}, "Start one with ", h("code", {}, "kindred-worker"), "; it appears here."))));
    } catch (error) {
      if (error.name !== "AbortError") put(note, failureBox(error));
    }
  };
  await refresh();
  follow(list, refresh, signal);
  // Devices change with events; when a node was heard of does not.
  const timer = setInterval(() => { if (!document.hidden) refresh(); }, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** The last events, then each as it happens. */
async function follow(list, refresh, signal) {
  const take = (events) => {
    for (const event of events) list.prepend(eventItem(event));
    while (list.children.length > MOST_EVENTS) list.lastChild.remove();
  };
  try {
    const known = await api.events.list({ tail: MOST_EVENTS, page_size: 1000 }, signal);
    take(known.events);
    if (!known.events.length) put(list, h("li", {}, h("span"), h("span", { class: "faint" }, "nothing yet")));
    let due = null;
    const news = (answer) => {
      if (!answer.events.length) return;
      if (list.querySelector("li > span.faint:only-of-type")) put(list);
      take(answer.events);
      due ??= setTimeout(() => { due = null; refresh(); }, 250);
    };
    api.watchEvents({ after_number: known.resume_marker }, { message: news }, signal);
  } catch (error) {
    if (error.name !== "AbortError") put(list, h("li", {}, failureBox(error)));
  }
}

function showTiles(tiles, nodes, jobs) {
  const devices = nodes.filter((node) => !["NODE_STATE_LOST"].includes(node.state)).flatMap((node) => node.devices);
  const used = devices.filter((device) => device.job_id).length;
  const ready = nodes.filter((node) => node.state === "NODE_STATE_READY").length;
  const waiting = jobs.filter((job) => stateOf(job) === "pending").length;
  const away = nodes.filter((node) => node.cordoned || node.draining || node.quarantined_until).length;
  put(tiles, tile("Devices in use", `${used}`, `of ${devices.length}`), tile("Nodes ready", `${ready}`, `of ${nodes.length}`),
    tile("Jobs at work", `${jobs.length - waiting}`), tile("Jobs waiting", `${waiting}`), tile("Out of service", `${away}`, away === 1 ? "node" : "nodes"));
}

function card(node, may, refresh) {
  const used = node.devices.filter((device) => device.job_id).length;
  const labels = Object.entries(node.labels ?? {});
  const kinds = [...new Set(node.devices.map((device) => device.model || label(device.kind, "DEVICE_KIND_")))].join(", ");
  const memory = Math.max(0, ...node.devices.map((device) => device.memory_bytes));
  const service = node.draining ? "draining" : node.cordoned ? "cordoned" : null;
  return h("article", { class: "card pad node", "aria-label": `node ${node.name}` },
    h("div", { class: "node-head" }, h("h3", { title: node.id }, node.name || node.id),
      h("span", { class: "chips" }, service && h("span", { class: "badge warn" }, service), node.quarantined_until && h("span", { class: "badge bad" }, "quarantine"), badge(label(node.state, "NODE_STATE_")))),
    h("div", { class: "devices", role: "list", "aria-label": `${used} of ${node.devices.length} devices in use` }, node.devices.map(deviceBox)),
    h("div", { class: "facts" }, h("span", {}, `${used} of ${node.devices.length} in use`), h("span", {}, kinds), memory > 0 && h("span", {}, bytes(memory)), heard(node) && h("span", { class: "faint" }, heard(node))),
    node.reason && h("p", { class: "small soft why" }, node.reason),
    labels.length > 0 && h("div", { class: "chips" }, labels.map(([key, value]) => h("span", { class: "chip" }, `${key}: ${value}`))),
    may("operator", true) && h("div", { class: "actions" }, actions(node, refresh)));
}

/** Agents report every few seconds: only a longer silence is worth a word. */
function heard(node) {
  const at = moment(node.last_report_time);
  return at && Date.now() - at < 15_000 ? "" : `heard ${ago(at)}`;
}

function deviceBox(device) {
  const kind = label(device.kind, "DEVICE_KIND_");
  if (!device.job_id) return h("span", { class: "device", role: "listitem", title: `${kind} ${device.index}: free` }, device.index);
  return h("a", { class: `device used ${tone(device.job_id)}`, role: "listitem", href: `/jobs/${device.job_id}`, title: `${kind} ${device.index}: ${device.job_id}, rank ${device.rank}`, "aria-label": `${kind} ${device.index}: ${device.job_id}, rank ${device.rank}` }, device.index);
}

function actions(node, refresh) {
  const run = async (call, question, done) => {
    const reason = await ask(question);
    if (reason === null) return;
    try {
      await call({ node_id: node.id, ...(question.asksReason ? { reason } : {}) });
      toast(done);
      refresh();
    } catch (error) { toast(error.message, true); }
  };
  const name = node.name || node.id;
  if (node.cordoned || node.draining || node.quarantined_until) {
    return h("button", { onclick: () => run(api.nodes.uncordon, { title: `Put ${name} back into service?`, action: "Uncordon" }, `${name} takes ranks again`) }, "Uncordon");
  }
  return [
    h("button", { class: "plain", onclick: () => run(api.nodes.cordon, { title: `Cordon ${name}?`, text: "It takes no new rank; what runs there goes on.", action: "Cordon", asksReason: true }, `${name} is cordoned`) }, "Cordon"),
    h("button", { class: "plain", onclick: () => run(api.nodes.drain, { title: `Drain ${name}?`, text: "Its jobs write a checkpoint and go on elsewhere.", action: "Drain", asksReason: true }, `${name} is draining`) }, "Drain"),
  ];
}
