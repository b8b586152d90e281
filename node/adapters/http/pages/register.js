// Registering a node: the proof comes from the machine of the node, the stake from the wallet.

import { at, h, number, span } from "./dom.js";

const PROFILE = [["name", "Name", "My GPU"], ["description", "What it offers", ""], ["site", "Web site", "https://…"], ["location", "Where it is", ""], ["contact", "Contact", ""]];

/** Give the card; `problem` is what was wrong with it at the last try. */
export function registerCard(chain, owner, wish, working, problem) {
  const fields = PROFILE.map(([key, title, example]) => h("label", { class: "field" }, h("span", {}, title),
    h("input", { id: `profile-${key}`, maxlength: 200, placeholder: example })));
  const form = h("form", { class: "stack", id: "register-form" },
    h("p", { class: "muted" }, "On the machine of the node, make a proof for your account, and paste below what it prints. network.toml is the network’s file, which whoever runs the network gives you."),
    h("pre", {}, h("code", { id: "prove" }, `cuckoo key prove --owner ${owner} --role miner --network network.toml`)),
    navigator.clipboard ? h("div", { class: "actions" }, h("button", { type: "button", class: "small", id: "copy", onclick: copy }, "Copy the command")) : null,
    h("label", { class: "field" }, h("span", {}, "Proof"), h("textarea", { id: "proof", rows: 4, required: true, spellcheck: "false", class: "mono", placeholder: '{"chain_id": …, "signature": "0x…"}' })),
    h("label", { class: "field" }, h("span", {}, "Own stake (CAI)"), h("input", { id: "register-amount", inputmode: "decimal", required: true, placeholder: "25000", autocomplete: "off" }),
      h("small", {}, `More than ${number(chain.minimum.miner, 0)} CAI for a miner, ${number(chain.minimum.coordinator, 0)} for a coordinator. It can be taken back, and waits ${span(chain.unbonding_s)} then.`)),
    h("p", { class: "hint" }, "What people see of it; all of it can be left empty, and changed later:"),
    h("div", { class: "row" }, ...fields),
    problem,
    h("div", { class: "actions" }, h("button", { class: "primary", type: "submit", id: "register-go", disabled: working }, "Review the registration"), h("span", { class: "hint" }, "Nothing is sent yet.")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const profile = Object.fromEntries(PROFILE.map(([key]) => [key, at(`profile-${key}`).value.trim()]).filter(([, text]) => text));
    wish("register", { proof: at("proof").value.trim(), amount: at("register-amount").value, profile }, "register");
  });
  return h("details", { class: "card", id: "register" }, h("summary", {}, "Register a node of your own"), form);
}

async function copy(event) {
  const button = event.currentTarget;
  await navigator.clipboard.writeText(at("prove").textContent);
  button.textContent = "Copied";
}
