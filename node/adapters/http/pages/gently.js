// Drawing anew without taking a button from under somebody's finger, or a field from under his words.

const FINGER_MS = 120;
const late = new Map();
let pressed = false;

/** Draw now, or once nobody presses anything or types inside `root`. Of several draws that wait, the last is done. */
export function gently(root, draw) {
  if (isHeld(root)) late.set(root, draw);
  else {
    late.delete(root);
    draw();
  }
}

function isHeld(root) {
  const field = document.activeElement;
  return pressed || (root.contains(field) && field.matches("input, select, textarea"));
}

function press() {
  pressed = true;
}

function release() {
  pressed = false;
  catchUp();
}

// A click comes after the finger has left, on touch screens in a later turn.
function catchUp() {
  setTimeout(() => {
    for (const [root, draw] of [...late]) gently(root, draw);
  }, FINGER_MS);
}

addEventListener("pointerdown", press, true);
addEventListener("pointerup", release, true);
addEventListener("pointercancel", release, true);
addEventListener("keydown", (event) => event.key === " " && press(), true);
addEventListener("keyup", release, true);
addEventListener("blur", release);
addEventListener("focusout", catchUp, true);
