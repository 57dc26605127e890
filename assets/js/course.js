// A block quote that asks for a prediction is a card of its own; other quotations stay quotations.
for (const quote of document.querySelectorAll(".bd-article blockquote")) {
  quote.classList.toggle("course-predict", quote.textContent.trimStart().startsWith("Predict"));
}

// What scrolls sideways must be reachable by keyboard: wide formulas, once they are typeset, at the width of the moment.
function reachable() {
  for (const formula of document.querySelectorAll("mjx-container[display]")) {
    formula.toggleAttribute("tabindex", false);
    if (formula.scrollWidth > formula.clientWidth) formula.setAttribute("tabindex", "0");
  }
}
window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(reachable));
window.addEventListener("resize", reachable);

// Who opens the output under a prediction has predicted: the prose that tells what came out opens with it.
document.addEventListener("toggle", ({ target }) => {
  if (!target.open || !target.matches("div.cell details.hide.below-input")) return;
  let next = target.closest("div.cell").nextElementSibling;
  while (next?.matches("div.cell")) next = next.nextElementSibling;
  if (next?.matches("details.course-answer")) next.open = true;
}, true);
