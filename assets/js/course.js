// A block quote that asks for a prediction is a card of its own; other quotations stay quotations.
for (const quote of document.querySelectorAll(".bd-article blockquote")) {
  quote.classList.toggle("course-predict", quote.textContent.trimStart().startsWith("Predict"));
}
