// A receipt: what it says, what this page can check of it, and what it cannot.
//
// The page comes from the coordinator that signed the receipt, so its word about the signature would be worth little.
// It checks what the browser can check by itself, and says how to check the rest elsewhere.

import { cai, h } from "./dom.js";
import { called, known } from "./known.js";

const MEANING = {
  task: "the task that the receipt is for",
  artifact: "SHA-256 of the picture",
  commitment: "the miner’s own signed promise of this result",
  coordinator: "who owes the price, and signed this",
  miner: "who drew it and is paid",
  attempt: "how often the task had been given to somebody before",
  price: "what the picture was worth, in wei",
  accepted: "when the coordinator accepted it, in milliseconds since 1970",
};

const IN_WORDS = { price: cai, accepted: (ms) => new Date(Number(ms)).toLocaleString() };

export function showReceipt(parent, { receipt, picture, task, end }) {
  const { statement, voucher } = receipt;
  const when = new Date(Number(statement.accepted));
  const checks = h("ol", { class: "checks", "aria-live": "polite" });
  const button = h("button", { type: "button", class: "primary", id: "verify" }, "Verify");
  button.addEventListener("click", async () => {
    button.disabled = true;
    checks.replaceChildren(...(await verify({ receipt, picture, task, end })).map(check));
    button.textContent = "Verified here";
    how.hidden = false;
  });
  const how = h("div", { class: "stack", hidden: true },
    h("p", { class: "hint" }, "To check the signature against the staking contract, save both files and run, with your own copy of Cuckoo and a chain node that you trust:"),
    h("pre", {}, h("code", {}, "cuckoo verify receipt.json --artifact picture.png --network network.toml")));
  const fields = Object.entries(MEANING).map(([name, meaning]) => [
    h("dt", {}, name), h("dd", {}, h("span", { class: "mono" }, String(statement[name])), h("br"), h("small", { class: "muted" }, meaning, IN_WORDS[name] ? `: ${IN_WORDS[name](statement[name])}` : ""))]);
  parent.replaceChildren(h("div", { class: "receipt" },
    h("header", {},
      h("div", {}, h("h2", {}, "Receipt"),
        h("p", { class: "hint" }, `${called(statement.coordinator)} owes ${called(statement.miner)} ${cai(statement.price)} for this picture, and signed so on ${when.toLocaleString()}.${known.network?.requires_key ? "" : " You owe nothing."}`)),
      button),
    checks, how,
    h("details", {}, h("summary", {}, "What was signed, field by field"),
      h("dl", { class: "facts" }, ...fields.flat(),
        h("dt", {}, "signature"), h("dd", { class: "mono" }, receipt.signature),
        h("dt", {}, "voucher"), h("dd", {}, `promises miner ${voucher.miner} ${cai(voucher.cumulative)} in all, which it can redeem from the coordinator’s escrow`)))));
  parent.hidden = false;
}

/** Check what can be checked here; gives [result, sentence] with result true, false, or null for what is left open. */
async function verify({ receipt, picture, task, end }) {
  const { statement, voucher } = receipt;
  const found = [];
  if (globalThis.crypto?.subtle) {
    const digest = await crypto.subtle.digest("SHA-256", await picture.arrayBuffer());
    const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    found.push(hex === statement.artifact
      ? [true, "The picture that you see is the one that the receipt names: your browser computed the same SHA-256."]
      : [false, "The picture that you see is not the one that the receipt names: their SHA-256 differ."]);
  } else {
    found.push([null, "The picture’s SHA-256 was not computed: browsers do that only over https or on your own machine."]);
  }
  found.push(statement.task === task
    ? [true, "It is for the task that you handed in."]
    : [false, "It is for another task than yours."]);
  found.push(statement.miner === end.miner && voucher.miner === statement.miner && voucher.coordinator === statement.coordinator
    ? [true, `Receipt and voucher name the same miner and coordinator, and it is the miner that you saw drawing (${called(end.miner)}).`]
    : [false, "Receipt, voucher and progress do not name the same miner."]);
  found.push([null, "Not checked here: whose signature it is. This page comes from the coordinator itself, so its word on that would prove nothing."]);
  return found;
}

function check([result, text]) {
  const kind = result === null ? "open" : result ? "yes" : "no";
  const mark = result === null ? "?" : result ? "✓" : "✕";
  const words = result === null ? "left open: " : result ? "checked: " : "wrong: ";
  return h("li", { class: kind }, h("span", { class: "mark", "aria-hidden": "true" }, mark), h("span", {}, h("span", { class: "out" }, words), text));
}
