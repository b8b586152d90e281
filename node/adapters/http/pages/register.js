// Registering a node: the proof comes from the machine of the node, the stake from the wallet.

import { at, h, number, span } from "./dom.js";

const PROFILE = [["name", "Name", "My GPU"], ["description", "What it offers", ""], ["site", "Web site", "https://…"], ["location", "Where it is", ""], ["contact", "Contact", ""]];

export function registerCard(chain, owner, wish) {
  const fields = PROFILE.map(([key, title, example]) => h("label", { class: "field" }, h("span", {}, title),
    h("input", { id: `profile-${key}`, maxlength: 200, placeholder: example })));
  const form = h("form", { class: "stack", id: "register-form" },
    h("p", { class: "muted" }, "On the machine of the node, make a proof for your account, and paste it here:"),
    h("pre", {}, h("code", { id: "prove" }, `cuckoo key prove --owner ${owner} --role miner --network network.toml`)),
    h("label", { class: "field" }, h("span", {}, "Proof"), h("textarea", { id: "proof", rows: 4, required: true, spellcheck: "false", class: "mono", placeholder: '{"chain_id": …, "signature": "0x…"}' })),
    h("label", { class: "field" }, h("span", {}, "Own stake (CAI)"), h("input", { id: "register-amount", inputmode: "decimal", required: true, placeholder: "25000" }),
      h("small", {}, `More than ${number(chain.minimum.miner, 0)} CAI for a miner, ${number(chain.minimum.coordinator, 0)} for a coordinator. It can be taken back, and waits ${span(chain.unbonding_s)} then.`)),
    h("div", { class: "row" }, ...fields),
    h("div", { class: "actions" }, h("button", { class: "primary", type: "submit" }, "Look at the registration")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const profile = Object.fromEntries(PROFILE.map(([key]) => [key, at(`profile-${key}`).value.trim()]).filter(([, text]) => text));
    wish("register", { proof: at("proof").value.trim(), amount: at("register-amount").value, profile });
  });
  return h("details", { class: "card", id: "register" }, h("summary", {}, "Register a node of your own"), form);
}
