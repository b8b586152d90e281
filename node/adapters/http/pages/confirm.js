// What is shown before anything is signed: what it changes, which contract is called, what it costs. Then one
// transaction after another, each once the one before it is in a block.

import { address, at, h, number, sentence, span } from "./dom.js";
import { nameOf } from "./known.js";
import { words } from "./wallet.js";

const MAX_NAME = 24;

/** Show a prepared plan and, if its owner agrees, have it signed. Gives true once all of it is in blocks. */
export function confirm(plan, account, chain) {
  const dialog = at("confirm");
  const signer = account.address; // for whom the plan was made: wallets change accounts at any time
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const status = h("p", { role: "status", class: "hint", tabindex: "-1" });
  const waits = h("span", { class: "hint", "aria-hidden": "true" });
  const plain = (text) => sentence(plainly(text, signer));
  const sign = h("button", { type: "button", class: "primary", id: "sign" }, plan.steps.length > 1 ? `Sign ${plan.steps.length} transactions` : "Sign in the wallet");
  const cancel = h("button", { type: "button", id: "cancel" }, "Cancel");
  const calls = plan.steps.map((step, index) => callOf(step, index, plan.steps.length, plain));
  dialog.replaceChildren(h("div", { class: "stack" },
    h("h2", { id: "confirm-title", tabindex: "-1" }, plain(plan.title)),
    plan.effects.length ? effects(plan.effects, plain) : null,
    ...calls,
    h("p", { class: "hint" }, `Gas: about ${number(plan.fee, 9)} ${chain.coin}, the chain’s fee for ${plan.gas.toLocaleString("en-US")} units. More is allowed, in case an epoch begins meanwhile; what is not used is not paid.`),
    plan.notes.length ? h("ul", { class: "notes" }, ...plan.notes.map((note) => h("li", {}, plain(note)))) : null,
    plan.affordable ? null : h("p", { class: "problem" }, `Your account has too little ${chain.coin} for the gas.`),
    h("p", { class: "hint" }, "Compare the contract’s address with the one that your wallet shows. This page comes from a coordinator: your wallet is the one that you trust."),
    h("div", { class: "foot stack" }, problem, status, h("div", { class: "actions" }, sign, cancel, waits))));
  return new Promise((resolve) => {
    let done = false;
    let busy = false;
    const close = () => {
      clearInterval(clock);
      dialog.close();
      resolve(done);
    };
    cancel.addEventListener("click", close);
    dialog.oncancel = (event) => {
      event.preventDefault();
      if (!busy) close();
    };
    let next = 0;
    let since = 0;
    const clock = setInterval(() => { waits.textContent = busy ? span((Date.now() - since) / 1000) : ""; }, 1000);
    sign.addEventListener("click", async () => {
      busy = sign.disabled = cancel.disabled = true;
      problem.hidden = true;
      status.focus();
      try {
        while (next < plan.steps.length) {
          if (account.address !== signer) throw new Error("your wallet has changed to another account; cancel, and begin again with that one");
          mark(calls, next, "busy", "your wallet asks");
          since = Date.now();
          status.textContent = `Look into your wallet: ${plan.steps[next].text} (${next + 1} of ${plan.steps.length}).`;
          await account.send(plan.steps[next], (hash) => {
            mark(calls, next, "busy", "sent");
            calls[next].append(h("div", { class: "muted" }, "transaction ", address(String(hash))));
            status.textContent = "Sent. Waiting for the next block.";
          });
          mark(calls, next, "good", "done");
          next += 1;
        }
        done = true;
        status.textContent = "Done.";
        status.className = "done";
        sign.hidden = true;
        cancel.textContent = "Close";
        cancel.disabled = false;
        cancel.focus();
      } catch (error) {
        problem.textContent = words(error, chain.coin);
        problem.hidden = false;
        status.textContent = next ? `${next} of ${plan.steps.length} transactions are done.` : "";
        mark(calls, next, "bad", "not done");
        sign.textContent = "Try again";
        sign.disabled = cancel.disabled = false;
        sign.focus();
      } finally {
        busy = false;
      }
    });
    dialog.showModal();
    at("confirm-title").focus(); // what it is about is read first, and seen first on a small screen
    dialog.scrollTop = 0;
  });
}

/** Say a plan in the words of the page: nodes with their names, which anybody may choose, after their numbers; and the
 * address `own`, if there is one, as the account that it is. */
export function plainly(text, own) {
  const named = (id) => (nameOf(id) === `Node ${id}` ? `node ${id}` : `node ${id} (${nameOf(id).slice(0, MAX_NAME)})`);
  return (own ? text.replace(new RegExp(own, "gi"), "your account") : text).replace(/\bnode (\d+)\b/g, (_, id) => named(id));
}

function callOf(step, index, count, plain) {
  return h("div", { class: "call" },
    h("div", {}, count > 1 ? h("b", {}, `${index + 1} of ${count}: `) : null, plain(step.text)),
    h("div", { class: "mono" }, `${step.contract}.${step.function}(${step.arguments.join(", ")})`),
    h("div", {}, h("span", { class: "muted" }, "contract "), h("span", { class: "mono" }, step.to)),
    h("span", { class: "tag" }, "not sent"));
}

function mark(calls, index, kind, text) {
  const tag = calls[index].querySelector(".tag");
  tag.className = `tag ${kind}`;
  tag.textContent = text;
  calls.forEach((call, other) => call.classList.toggle("on", other === index));
}

function effects(found, plain) {
  const rows = found.map(({ what, before, after }) => h("tr", {},
    h("th", { scope: "row" }, plain(what)), h("td", { class: "num" }, before), h("td", { "aria-hidden": "true" }, "→"),
    h("td", { class: "num" }, before === after ? h("span", { class: "muted" }, after) : h("b", {}, after))));
  return h("div", { class: "scroll" }, h("table", { class: "effects" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What changes"), h("th", { scope: "col", class: "num" }, "now"), h("td"), h("th", { scope: "col", class: "num" }, "after"))),
    h("tbody", {}, ...rows)));
}
