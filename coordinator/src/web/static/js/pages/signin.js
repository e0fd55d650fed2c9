// Takes a token; the coordinator keeps it in a cookie that no script reads.

import * as api from "../api.js";
import { h, put } from "../dom.js";
import { failureBox } from "../parts.js";

export function signIn(main, done) {
  const token = h("input", { type: "password", id: "token", autocomplete: "current-password", spellcheck: "false", required: true });
  const wrong = h("div");
  const enter = async (event) => {
    event.preventDefault();
    try {
      await api.session.signIn(token.value);
      done();
    } catch (error) {
      put(wrong, failureBox(error));
      token.select();
    }
  };
  put(main, h("form", { class: "card signin stack", onsubmit: enter },
    h("div", {}, h("h1", {}, "Sign in"), h("p", { class: "soft lead" }, "This coordinator wants a token: an admin makes one with ", h("code", {}, "kindred tokens create"), ".")),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), token), wrong,
    h("button", { class: "primary", type: "submit" }, "Sign in")));
  token.focus();
}
