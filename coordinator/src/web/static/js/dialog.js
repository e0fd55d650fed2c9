// A question before something that cannot be taken back.

import { h } from "./dom.js";

/**
 * Asks, and resolves with the reason that was given, or null.
 * `question`: {title, text, action, isDanger, asksReason}.
 */
export function ask(question) {
  return new Promise((resolve) => {
    const reason = h("input", { type: "text", id: "reason", maxlength: 200, placeholder: "for the record; may be left out" });
    const done = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    const dialog = h("dialog", { "aria-labelledby": "question" },
      h("form", { class: "stack", onsubmit: (event) => { event.preventDefault(); done(reason.value); } },
        h("h2", { id: "question" }, question.title),
        question.text && h("p", { class: "soft" }, question.text),
        question.asksReason && h("div", { class: "field" }, h("label", { for: "reason" }, "Reason"), reason),
        h("div", { class: "actions" },
          h("button", { type: "submit", class: question.isDanger ? "danger primary" : "primary", id: "confirm" }, question.action),
          h("button", { type: "button", onclick: () => done(null) }, "Go back"))));
    dialog.addEventListener("cancel", () => { dialog.remove(); resolve(null); });
    document.body.append(dialog);
    dialog.showModal();
  });
}
